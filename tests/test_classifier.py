import concurrent.futures
import dataclasses
import io

import numpy as np
import openvino
import pytest
from conftest import random_tensors
from PIL import Image

from resnext.architecture import Architecture, find_architecture
from resnext.classifier import Classifier, Prediction
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError, RepositoryError, ResNeXtError, WeightsError
from resnext.keras_model import build_model
from resnext.openvino_graph import build_graph
from resnext.preprocessing import open_image, preprocess
from resnext.repository import find_repository
from resnext.weights import load_into_keras, read_tensors

BASE = Architecture(layers=(1, 2, 1, 1), channels=(16, 16, 32, 32), cardinality=4, base_width=16)
VARIANTS = {
    "plain": BASE,
    "resnet": dataclasses.replace(BASE, cardinality=1, base_width=64),
    "deep stem, average-pool shortcut": dataclasses.replace(BASE, stem_type="deep", stem_width=8, avg_down=True),
    "tiered stem": dataclasses.replace(BASE, stem_type="deep_tiered", stem_width=8, avg_down=True),
    "squeeze-and-excitation": dataclasses.replace(BASE, attn_layer="se"),
    "small": dataclasses.replace(find_architecture("resnext26_small"), layers=(1, 1, 1, 1)),
}


@pytest.fixture
def photograph(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((96, 72), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("architecture", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("size", [(64, 64), (95, 77)], ids=["64x64", "95x77"])
def test_both_readings_give_the_same_numbers(architecture, size):
    tensors = random_tensors(architecture, 7)
    config = ModelConfig("resnext50_32x4d", architecture, tuple("abcdefg"), Preprocessing(64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)))
    pixels = np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8)
    graph = openvino.Core().compile_model(build_graph(config, tensors, size), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    served = graph({"images": pixels})
    model = build_model(architecture, 7, mean=config.preprocessing.mean, std=config.preprocessing.std)
    load_into_keras(model, tensors)
    logits = model(pixels.astype(np.float32), training=False).numpy()
    assert np.abs(served["logits"] - logits).max() < 1e-5 * np.abs(logits).max()
    expected = np.exp(logits - logits.max())
    assert np.allclose(served["probabilities"], expected / expected.sum(), atol=1e-5)
    features = build_model(architecture, 0, mean=config.preprocessing.mean, std=config.preprocessing.std, features_only=True)
    load_into_keras(features, {key: value for key, value in tensors.items() if not key.startswith("fc.")})
    last = features(pixels.astype(np.float32), training=False)["layer4"].numpy().transpose(0, 3, 1, 2)
    assert np.abs(served["features"] - last).max() < 1e-5 * np.abs(last).max()


def test_a_classifier_says_what_keras_says(tiny_repository, tiny_config, photograph):
    from resnext.pretrained import from_pretrained

    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    pixels = preprocess(open_image(photograph), tiny_config.preprocessing)
    logits = from_pretrained(tiny_repository)(pixels[None].astype(np.float32)).numpy()[0]
    predictions = classifier(photograph, top_k=3)
    assert [prediction.label for prediction in predictions] == [tiny_config.label_names[i] for i in np.argsort(-logits)]
    assert sum(prediction.probability for prediction in predictions) == pytest.approx(1, abs=1e-5)
    assert isinstance(predictions[0], Prediction)


def test_a_path_bytes_and_an_open_image_are_the_same(tiny_repository, photograph):
    classifier = Classifier.from_pretrained(tiny_repository)
    answers = [classifier(source) for source in (photograph, str(photograph), photograph.read_bytes(), Image.open(photograph))]
    assert all(answer == answers[0] for answer in answers)


def test_top_k_is_cut_at_the_number_of_classes(tiny_repository, photograph):
    classifier = Classifier.from_pretrained(tiny_repository)
    assert [len(classifier(photograph, top_k)) for top_k in (1, 2, 3, 10)] == [1, 2, 3, 3]


def test_the_class_activation_map_adds_up_to_the_logit(tiny_repository, photograph):
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    answer = classifier.answer(photograph)
    bias = read_tensors(tiny_repository / "model.safetensors")["fc.bias"]
    for label in range(3):
        activation = classifier.class_activation_map(answer, label)
        assert activation.shape == (2, 2)
        assert activation.mean() + bias[label] == pytest.approx(answer.logits[label], rel=1e-4, abs=1e-4)


def test_threads_do_not_mix_their_answers(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(64)]
    alone = [classifier.run(image).logits for image in images]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda image: classifier.run(image).logits, images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together))


def test_bfloat16_and_auto_answer_nearly_the_same(tiny_repository, photograph):
    exact = Classifier.from_pretrained(tiny_repository, precision="float32").answer(photograph).probabilities
    for precision in ("auto", "bfloat16"):
        answer = Classifier.from_pretrained(tiny_repository, precision=precision).answer(photograph)
        assert np.abs(answer.probabilities - exact).max() < 0.05
    with pytest.raises(ConfigError, match="precision can be auto, float32, bfloat16, not 'int4'"):
        Classifier.from_pretrained(tiny_repository, precision="int4")


def test_extreme_images_are_classified(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository)
    for size in ((1, 1), (1, 3000), (3000, 1)):
        file = io.BytesIO()
        Image.new("L", size, 200).save(file, "PNG")
        assert len(classifier(file.getvalue())) == 3


def test_weights_of_another_network_are_named(tiny_repository, tiny_config):
    other = dataclasses.replace(tiny_config, architecture=dataclasses.replace(tiny_config.architecture, layers=(1, 1, 1, 2)))
    other.write(tiny_repository / "config.json")
    with pytest.raises(WeightsError, match="layer4.1.conv1.weight"):
        Classifier.from_pretrained(tiny_repository)


def test_what_is_no_repository_is_named(tmp_path, tiny_repository):
    cases = {
        tmp_path: "it has no config.json",
        "../etc/passwd": "neither a folder nor a Hub repository",
        "a/b/c": "neither a folder nor a Hub repository",
        "-rf": "neither a folder nor a Hub repository",
        "x" * 999: "neither a folder|no valid repository id",
    }
    for model, words in cases.items():
        with pytest.raises(RepositoryError, match=words) as error:
            find_repository(model)
        assert len(str(error.value)) < 400
    with pytest.raises(RepositoryError, match="has no revisions"):
        find_repository(tiny_repository, "main")


def test_every_error_is_a_resnext_error():
    assert issubclass(RepositoryError, ResNeXtError) and issubclass(WeightsError, ResNeXtError)
