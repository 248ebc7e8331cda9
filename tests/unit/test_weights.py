import keras
import numpy as np
import pytest
import safetensors.numpy

from resnext.classifier import Classifier
from resnext.config import ModelConfig
from resnext.errors import ConfigError, WeightsError
from resnext.keras_model import build_model
from resnext.pretrained import from_pretrained, save_pretrained
from resnext.shapes import tensor_shapes
from resnext.weights import (
    check_shapes,
    keras_tensors,
    load_into_keras,
    read_tensors,
    save_tensors,
    write_safetensors,
)
from tests.helpers.repositories import random_tensors


def test_weights_go_through_keras_and_back_bit_for_bit(tmp_path, tiny_config, tiny_repository):
    model = from_pretrained(tiny_repository)
    save_pretrained(model, tmp_path / "again")
    before, after = (
        read_tensors(folder / "model.safetensors") for folder in (tiny_repository, tmp_path / "again")
    )
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert ModelConfig.read(tmp_path / "again" / "config.json") == tiny_config


def test_keys_and_layout_are_timm_s(tiny_config):
    tensors = keras_tensors(build_model(tiny_config.architecture, 3))
    assert tensors["conv1.weight"].shape == (64, 3, 7, 7)
    assert tensors["layer1.0.conv2.weight"].shape == (8, 2, 3, 3)  # OIHW, input channels of one group
    assert tensors["fc.weight"].shape == (3, 128)
    assert "layer1.0.downsample.1.running_var" in tensors
    assert "bn1.running_mean" in tensors


def test_values_beyond_float16_stay_in_float32(tmp_path):
    tensors = {"small": np.array([0.1, -2], np.float32), "large": np.array([1e6, 1], np.float32)}
    save_tensors(tensors, tmp_path / "w.safetensors", "float16")
    after = read_tensors(tmp_path / "w.safetensors")
    assert after["small"].dtype == np.float16
    assert after["large"].dtype == np.float32
    assert np.array_equal(after["large"], tensors["large"])


def test_equal_tensors_and_texts_give_equal_files(tmp_path):
    texts = {f"ключ {index}": 'a "text"\n' * index for index in range(8)}
    tensors = {"b": np.ones((2, 3), np.float16), "a": np.zeros(5, np.float32)}
    for index in range(4):  # the library's order of the texts is random
        write_safetensors(tensors, tmp_path / f"{index}.safetensors", texts)
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    with safetensors.safe_open(tmp_path / "0.safetensors", "numpy") as file:
        assert file.metadata() == texts
        np.testing.assert_array_equal(file.get_tensor("b"), tensors["b"])


def test_timm_s_batch_counters_are_ignored(tiny_config):
    tensors = random_tensors(tiny_config.architecture, 3) | {"bn1.num_batches_tracked": np.array(7)}
    load_into_keras(build_model(tiny_config.architecture, 3), tensors)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"fc.bias": None}, "has no tensor 'fc.bias'"),
        (
            {"fc.bias": np.zeros(4, np.float32)},
            r"'fc.bias' has shape \(4,\), but the architecture needs \(3,\)",
        ),
        ({"fc.bias": np.zeros(3, np.int64)}, "'fc.bias' holds int64"),
        ({"head.weight": np.zeros(3, np.float32)}, "has a tensor 'head.weight'"),
        ({"fc.bias": np.full(3, 1e300)}, "'fc.bias' holds NaN or infinity"),  # finite, but not in float32
        ({"fc.bias": np.full(3, np.nan, np.float32)}, "'fc.bias' holds NaN or infinity"),
        (
            {"bn1.running_var": np.full(64, -1, np.float32)},
            "'bn1.running_var' is a variance, but holds numbers below 0",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_change_nothing(tiny_config, change, words):
    tensors = random_tensors(tiny_config.architecture, 3) | change
    tensors = {key: value for key, value in tensors.items() if value is not None}
    model = build_model(tiny_config.architecture, 3)
    before = keras_tensors(model)
    with pytest.raises(WeightsError, match=words):
        load_into_keras(model, tensors)
    assert all(np.array_equal(value, before[key]) for key, value in keras_tensors(model).items())
    with pytest.raises(WeightsError, match=words):
        check_shapes(tensors, tensor_shapes(tiny_config.architecture, 3), "the file")


def test_bfloat16_weights_are_read_as_they_are(tmp_path, tiny_config):
    tensors = random_tensors(tiny_config.architecture, 3)
    rounded = {key: value.astype("bfloat16") for key, value in tensors.items()}
    safetensors.numpy.save_file(rounded, tmp_path / "w.safetensors")
    model = build_model(tiny_config.architecture, 3)
    load_into_keras(model, read_tensors(tmp_path / "w.safetensors"))
    assert all(
        np.array_equal(value, rounded[key].astype(np.float32)) for key, value in keras_tensors(model).items()
    )


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 64, b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_file_is_one_clear_error(tmp_path, tiny_config, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="model.safetensors"):
        check_shapes(read_tensors(path), tensor_shapes(tiny_config.architecture, 3), path)


def test_a_truncated_and_a_missing_file_are_named(tiny_repository):
    path = tiny_repository / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match="incomplete .* download it again"):
        read_tensors(path)
    path.unlink()
    with pytest.raises(WeightsError, match="is missing"):
        read_tensors(path)


@pytest.mark.slow
def test_a_fine_tuned_model_is_saved_with_its_own_class_names(tmp_path, tiny_repository):
    model = from_pretrained(tiny_repository, num_classes=2)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    images = np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    model.fit(images, np.array([0, 1, 0, 1]), verbose=0)
    save_pretrained(model, tmp_path / "mine", ["left", "right"])
    classifier = Classifier.from_pretrained(tmp_path / "mine", precision="float32")
    assert classifier.config.label_names == ("left", "right")
    assert classifier.config.architecture == model.resnext_config.architecture
    pixels = images[0].round().astype(np.uint8)
    assert np.allclose(classifier.run(pixels).logits, model(pixels[None].astype(np.float32))[0], atol=1e-4)


def test_a_keras_file_holds_the_whole_model(tmp_path, tiny_repository):
    model = from_pretrained(tiny_repository)
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    assert np.array_equal(keras.models.load_model(tmp_path / "model.keras")(images), model(images))


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "x"])
def test_saving_in_another_dtype_is_refused_and_writes_nothing(dtype, tmp_path, tiny_config):
    with pytest.raises(ConfigError, match=f"dtype must be float32 or float16, not '{dtype}'"):
        save_pretrained(build_model(tiny_config.architecture, 3), tmp_path / "out", dtype=dtype)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", ["x", 2.5, True, -1, 10**9])
def test_an_invalid_number_of_classes_is_named(count, tiny_repository):
    with pytest.raises(ConfigError, match=r"num_classes must be a whole number from 0 to \d+, not "):
        from_pretrained(tiny_repository, num_classes=count)


def test_label_names_that_do_not_fit_the_model_are_refused(tmp_path, tiny_config):
    with pytest.raises(ConfigError, match="4 outputs, but label_names has 3 names"):
        save_pretrained(build_model(tiny_config.architecture, 4), tmp_path / "out", tiny_config.label_names)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_prefixes_of_pytorch_s_wrappers_are_left_out(prefix, tmp_path):
    value = np.ones(2, np.float32)
    save_tensors({f"{prefix}fc.bias": value}, tmp_path / "model.safetensors")
    assert list(read_tensors(tmp_path / "model.safetensors", {"fc.bias": (2,)})) == ["fc.bias"]


def test_two_tensors_that_differ_by_a_prefix_are_refused(tmp_path):
    value = np.ones(2, np.float32)
    save_tensors({"module.fc.bias": value, "fc.bias": value}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="the same name but for a prefix"):
        read_tensors(tmp_path / "model.safetensors")
