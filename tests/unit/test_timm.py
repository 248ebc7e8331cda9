"""Networks against timm's numbers, which `tests/benchmarks/parity.py --fixtures` has written."""

import json
import pathlib
import sys

import keras
import numpy as np
import openvino
import pytest

from resnext.config import ModelConfig
from resnext.keras_model import build_model
from resnext.openvino_graph import build_graph
from resnext.pretrained import from_pretrained
from resnext.shapes import tensor_shapes
from resnext.weights import keras_tensors, load_into_keras, read_tensors

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "benchmarks"))
from parity import FIXTURES, VARIANTS, difference, pixels, weights


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_openvino_and_keras_give_timm_s_numbers(variant):
    folder = FIXTURES / variant
    config = ModelConfig.read(folder / "config.json")
    answers, tensors = (
        np.load(folder / "answers.npz"),
        weights(json.loads((folder / "shapes.json").read_text())),
    )
    network = build_model(config.architecture, config.num_classes, preprocessing=config.preprocessing)
    load_into_keras(network, tensors)
    last = network.get_layer(f"layer4.{config.architecture.layers[3] - 1}.act3").output
    network = keras.Model(network.input, [network.output, last])
    sizes = [tuple(map(int, key.split()[1:])) for key in answers if key.startswith("logits")]
    assert len(sizes) == 2
    for height, width in sizes:
        images, names = (
            pixels((height, width)),
            [f"{kind} {height} {width}" for kind in ("logits", "features")],
        )
        logits, features = (value.numpy() for value in network(images.astype(np.float32), training=False))
        assert difference(logits, answers[names[0]]) < 1e-5
        assert difference(features.transpose(0, 3, 1, 2), answers[names[1]]) < 1e-5
        graph = openvino.Core().compile_model(
            build_graph(config, tensors, (height, width)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        served = graph({"images": images})
        assert difference(served["logits"], answers[names[0]]) < 1e-5
        assert difference(served["features"], answers[names[1]]) < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_modules_have_timm_s_names_and_shapes(variant):
    config = ModelConfig.read(FIXTURES / variant / "config.json")
    theirs = {
        key: tuple(shape)
        for key, shape in json.loads((FIXTURES / variant / "shapes.json").read_text()).items()
    }
    assert tensor_shapes(config.architecture, config.num_classes) == theirs


def test_a_file_that_timm_wrote_is_read_to_the_last_bit():
    folder = FIXTURES / "resnext"
    expected = weights(json.loads((folder / "shapes.json").read_text()))
    tensors = read_tensors(folder / "model.safetensors")
    assert all(np.array_equal(tensors[key], value) for key, value in expected.items())
    ours = keras_tensors(from_pretrained(folder))
    assert ours.keys() == expected.keys()
    assert all(np.array_equal(ours[key], value) for key, value in expected.items())


def test_features_are_the_logits_without_the_classifier():
    folder = FIXTURES / "resnext"
    images = pixels((64, 96)).astype(np.float32)
    tensors = read_tensors(folder / "model.safetensors")
    logits = from_pretrained(folder)(images).numpy()
    pooled = from_pretrained(folder, num_classes=0)(images).numpy()
    assert pooled.shape == (1, 128)
    assert difference(pooled @ tensors["fc.weight"].T + tensors["fc.bias"], logits) < 1e-5
    maps = from_pretrained(folder, features_only=True)(images)
    shapes = [
        (1, 64 // stride, 96 // stride, channels)
        for stride, channels in zip((4, 8, 16, 32), (64, 64, 128, 128))
    ]
    assert [tuple(value.shape) for value in maps.values()] == shapes
    assert difference(maps["layer4"].numpy().mean((1, 2)), pooled) < 1e-5
