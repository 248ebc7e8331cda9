import concurrent.futures
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from resnext.classifier import Classifier, Prediction
from resnext.errors import ConfigError, RepositoryError, ResNeXtError, WeightsError
from resnext.preprocessing import open_image, preprocess
from resnext.repository import find_repository
from resnext.weights import read_tensors


@pytest.fixture
def photograph(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(
        (96, 72), Image.Resampling.BICUBIC
    ).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_classifier_predicts_what_keras_predicts(tiny_repository, tiny_config, photograph):
    from resnext.pretrained import from_pretrained

    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    pixels = preprocess(open_image(photograph), tiny_config.preprocessing)
    logits = from_pretrained(tiny_repository)(pixels[None].astype(np.float32)).numpy()[0]
    predictions = classifier(photograph, top_k=3)
    assert [prediction.label for prediction in predictions] == [
        tiny_config.label_names[i] for i in np.argsort(-logits)
    ]
    assert sum(prediction.probability for prediction in predictions) == pytest.approx(1, abs=1e-5)
    assert isinstance(predictions[0], Prediction)


def test_a_path_bytes_and_an_open_image_are_the_same(tiny_repository, photograph):
    classifier = Classifier.from_pretrained(tiny_repository)
    outputs = [
        classifier(source)
        for source in (photograph, str(photograph), photograph.read_bytes(), Image.open(photograph))
    ]
    assert all(output == outputs[0] for output in outputs)


def test_the_test_size_is_used_when_asked_for(tiny_repository, tiny_config, photograph):
    seen = tiny_config.preprocessing
    assert (
        Classifier.from_pretrained(tiny_repository, test_size=True).config.preprocessing == seen
    )  # there is no other
    prep = dataclasses.replace(seen, test_image_size=96, test_crop_pct=1.0)
    dataclasses.replace(tiny_config, preprocessing=prep).write(tiny_repository / "config.json")
    assert Classifier.from_pretrained(tiny_repository).infer(photograph).features.shape == (128, 2, 2)
    larger = Classifier.from_pretrained(tiny_repository, test_size=True)
    assert larger.config.preprocessing.resize_to == 96
    assert larger.infer(photograph).features.shape == (128, 3, 3)


def test_top_k_is_cut_at_the_number_of_classes(tiny_repository, photograph):
    classifier = Classifier.from_pretrained(tiny_repository)
    assert [len(classifier(photograph, top_k)) for top_k in (1, 2, 3, 10)] == [1, 2, 3, 3]
    for top_k in (0, -1):
        with pytest.raises(ConfigError, match=f"top_k must be at least 1, not {top_k}"):
            classifier(photograph, top_k)


def test_the_class_activation_map_averages_to_the_logit(tiny_repository, photograph):
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    output = classifier.infer(photograph)
    bias = read_tensors(tiny_repository / "model.safetensors")["fc.bias"]
    for label in range(3):
        activation = classifier.class_activation_map(output, label)
        assert activation.shape == (2, 2)
        assert activation.mean() + bias[label] == pytest.approx(output.logits[label], rel=1e-4, abs=1e-4)


def test_threads_do_not_mix_their_outputs(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(64)]
    alone = [classifier.run(image).logits for image in images]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: classifier.run(image).logits, images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together))


def test_bfloat16_and_auto_are_close_to_float32(tiny_repository, photograph):
    exact = Classifier.from_pretrained(tiny_repository, precision="float32").infer(photograph).probabilities
    for precision in ("auto", "bfloat16"):
        classifier = Classifier.from_pretrained(tiny_repository, precision=precision)
        assert np.abs(classifier.infer(photograph).probabilities - exact).max() < 0.05
        said = f"This processor does not compute in {precision}: classifying in {classifier.precision}."
        assert classifier.notice == ("" if precision in ("auto", classifier.precision) else said)
    with pytest.raises(
        ConfigError, match="precision must be one of auto, float32, bfloat16, int8, not 'int4'"
    ):
        Classifier.from_pretrained(tiny_repository, precision="int4")


def test_extreme_images_are_classified(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository)
    for size in ((1, 1), (1, 3000), (3000, 1)):
        file = io.BytesIO()
        Image.new("L", size, 200).save(file, "PNG")
        assert len(classifier(file.getvalue())) == 3


def test_weights_of_another_network_are_named(tiny_repository, tiny_config):
    other = dataclasses.replace(
        tiny_config, architecture=dataclasses.replace(tiny_config.architecture, layers=(1, 1, 1, 2))
    )
    other.write(tiny_repository / "config.json")
    with pytest.raises(WeightsError, match="layer4.1.conv1.weight"):
        Classifier.from_pretrained(tiny_repository)


def test_what_is_not_a_repository_is_named(tmp_path, tiny_repository):
    cases = {
        tmp_path: "it has no config.json",
        "../etc/passwd": "neither a folder nor a Hub repository",
        "a/b/c": "neither a folder nor a Hub repository",
        "": "neither a folder nor a Hub repository",
        "~no-such-user/model": "neither a folder nor a Hub repository",
        "a\0b": "neither a folder nor a Hub repository",
        "-rf": "neither a folder nor a Hub repository",
        "x" * 999: "neither a folder|not a valid repository id",
    }
    for model, words in cases.items():
        with pytest.raises(RepositoryError, match=words) as error:
            find_repository(model)
        assert len(str(error.value)) < 400
    with pytest.raises(RepositoryError, match="has no revisions"):
        find_repository(tiny_repository, "main")


def test_every_error_is_a_resnext_error():
    assert issubclass(RepositoryError, ResNeXtError)
    assert issubclass(WeightsError, ResNeXtError)
