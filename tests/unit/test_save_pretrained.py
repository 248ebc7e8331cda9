"""A model is saved only if the file gives the same network back; every other model gets one clear error."""

import dataclasses

import keras
import numpy as np
import pytest

from resnext.architecture import Architecture
from resnext.classifier import Classifier
from resnext.config import Preprocessing
from resnext.errors import ConfigError, ResNeXtError, WeightsError
from resnext.keras_model import build_model, dtype_policy
from resnext.pretrained import from_pretrained, save_pretrained
from resnext.weights import keras_tensors, read_tensors

pytestmark = pytest.mark.slow

ARCHITECTURE = Architecture(
    layers=(1, 1, 1, 1), channels=(8, 8, 8, 8), cardinality=2, base_width=32, attn_layer="se"
)
NAMES = ("ant", "bee", "cat")


@pytest.fixture
def model():
    return build_model(ARCHITECTURE, label_names=NAMES, preprocessing=Preprocessing(64))


def claimed(model, original):
    """A model with the config of another one, as its user might assign it."""
    model.resnext_config = original.resnext_config
    return model


def nested(model):
    return keras.Model(model.input, keras.layers.Dense(3)(model.output))


def wrapped(model):
    images = keras.Input((64, 64, 3))
    return keras.Model(images, model(images))


def sequential(model):
    return keras.Sequential([model, keras.layers.Dense(3)])


def subclassed(model):
    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = model

        def call(self, images):
            return self.network(images)

    return Subclass()


def with_softmax(model):
    return keras.Model(model.input, keras.layers.Softmax()(model.output))


def with_layer_before_classifier(model):
    hidden = keras.layers.Dense(32, "relu")(model.layers[-1].input)
    return keras.Model(model.input, keras.layers.Dense(3, name="fc")(hidden))


def with_another_head(model):
    return keras.Model(model.input, keras.layers.Dense(3, name="head")(model.layers[-1].input))


def with_a_larger_head(model):
    return keras.Model(model.input, keras.layers.Dense(4, name="fc")(model.layers[-1].input))


def without_classifier(model):
    return keras.Model(model.input, model.layers[-1].input)


KINDS = (
    nested,
    wrapped,
    sequential,
    subclassed,
    with_softmax,
    with_layer_before_classifier,
    with_another_head,
    with_a_larger_head,
    without_classifier,
)


@pytest.mark.parametrize("change", KINDS)
def test_a_model_of_another_structure_is_refused(change, model, tmp_path):
    other = change(model)
    with pytest.raises(ConfigError, match="not made by from_pretrained or build_model"):
        save_pretrained(other, tmp_path / "out")
    with pytest.raises(ResNeXtError, match="not the network that it was built as|has no tensor 'fc.weight'"):
        save_pretrained(claimed(other, model), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_layer_that_computes_something_else_is_refused(model, tmp_path):
    model.get_layer("layer1.0.act1").negative_slope = 0.1
    with pytest.raises(ConfigError, match=r"layer 'layer1\.0\.act1' differs"):
        save_pretrained(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_a_quantized_model_is_refused(mode, model, tmp_path):
    model(np.zeros((1, 32, 32, 3)))
    model.quantize(mode)
    with pytest.raises(WeightsError, match=f"'fc' is quantized to {mode}"):
        save_pretrained(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layer", ["fc", "layer1.0.conv2"])
def test_a_model_with_lora_is_refused(layer, model, tmp_path):
    model.get_layer(layer).enable_lora(2)
    with pytest.raises(WeightsError, match=f"'{layer}' has LoRA weights"):
        save_pretrained(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"num_classes": 3, "features_only": True}])
def test_a_model_without_classifier_is_refused(options, tmp_path):
    with pytest.raises(ConfigError, match="no classifier"):
        save_pretrained(build_model(ARCHITECTURE, **options), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_that_are_nan_are_refused(model, tmp_path):
    model.get_layer("fc").bias.assign([np.nan, 0, 0])
    with pytest.raises(WeightsError, match="The model: tensor 'fc.bias' holds NaN"):
        save_pretrained(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", ["abc", ["a", 1, "c"], ["a", "\ud800", "c"], ["a", "b"]])
def test_invalid_label_names_are_refused(names, model, tmp_path):
    with pytest.raises(ConfigError, match="label_names"):
        save_pretrained(model, tmp_path / "out", names)
    assert not (tmp_path / "out").exists()


def test_what_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not made by from_pretrained or build_model"):
        save_pretrained("model", tmp_path)


def clone(model, folder):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return claimed(copy, model)


def reloaded(model, folder):
    model.save(folder / "model.keras")
    return claimed(keras.models.load_model(folder / "model.keras"), model)


def frozen(model, folder):
    model.trainable = False
    return model


@pytest.mark.parametrize("change", [clone, reloaded, frozen])
def test_an_unchanged_copy_is_saved_bit_for_bit(change, model, tmp_path):
    expected = keras_tensors(model)
    save_pretrained(change(model, tmp_path), tmp_path / "out")
    tensors = read_tensors(tmp_path / "out" / "model.safetensors")
    assert tensors.keys() == expected.keys()
    assert all(np.array_equal(tensors[key], expected[key]) for key in expected)
    assert from_pretrained(tmp_path / "out").resnext_config == model.resnext_config


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_a_model_of_any_precision_is_saved_in_float32(policy, tmp_path):
    with dtype_policy(policy):
        model = build_model(ARCHITECTURE, label_names=NAMES)
    save_pretrained(model, tmp_path / "out")
    tensors = read_tensors(tmp_path / "out" / "model.safetensors")
    assert {value.dtype.name for value in tensors.values()} == {"float32"}
    assert np.array_equal(tensors["fc.weight"], np.asarray(model.get_layer("fc").kernel).T)


def test_weights_beyond_float16_are_stored_in_float32(model, tmp_path):
    model.get_layer("fc").bias.assign([1e6, 0, 0])
    save_pretrained(model, tmp_path / "out", dtype="float16")
    tensors = read_tensors(tmp_path / "out" / "model.safetensors")
    assert tensors["fc.bias"].dtype == np.float32
    assert tensors["fc.bias"][0] == 1e6
    assert tensors["fc.weight"].dtype == np.float16


def test_a_saved_new_network_classifies_as_keras_does(model, tmp_path):
    save_pretrained(model, tmp_path / "out")
    classifier = Classifier.from_pretrained(tmp_path / "out", precision="float32")
    assert classifier.config == model.resnext_config
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    expected = model(pixels[None].astype(np.float32))[0]
    assert np.allclose(classifier.run(pixels).logits, expected, atol=1e-5)


def test_classes_of_a_new_classifier_are_numbered_until_named(tiny_repository, tmp_path):
    model = from_pretrained(tiny_repository, num_classes=2)
    save_pretrained(model, tmp_path / "out")
    assert Classifier.from_pretrained(tmp_path / "out").config.label_names == ("class 0", "class 1")
    save_pretrained(model, tmp_path / "out", ["left", "right"])
    assert Classifier.from_pretrained(tmp_path / "out").config.label_names == ("left", "right")


def test_a_variant_keeps_its_name_and_arguments(tiny_repository, tiny_config, tmp_path):
    config = dataclasses.replace(tiny_config, name="resnet50")
    config.write(tiny_repository / "config.json")
    save_pretrained(from_pretrained(tiny_repository), tmp_path / "out")
    assert Classifier.from_pretrained(tmp_path / "out").config == config


def test_options_after_the_first_are_keyword_only(model, tmp_path):
    with pytest.raises(TypeError):
        from_pretrained(None, 3)
    with pytest.raises(TypeError):
        Classifier.from_pretrained(None, "main")
    with pytest.raises(TypeError):
        save_pretrained(model, tmp_path, NAMES, "float16")
    with pytest.raises(TypeError):
        Classifier(model.resnext_config, keras_tensors(model), "float32")
