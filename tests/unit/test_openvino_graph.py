import dataclasses

import numpy as np
import openvino
import pytest

from resnext.architecture import Architecture, find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import WeightsError
from resnext.keras_model import build_model
from resnext.openvino_graph import build_graph
from resnext.weights import load_into_keras
from tests.helpers.repositories import random_tensors

BASE = Architecture(layers=(1, 2, 1, 1), channels=(16, 16, 32, 32), cardinality=4, base_width=16)
VARIANTS = {
    "plain": BASE,
    "resnet": dataclasses.replace(BASE, cardinality=1, base_width=64),
    "deep stem, average-pool shortcut": dataclasses.replace(
        BASE, stem_type="deep", stem_width=8, avg_down=True
    ),
    "tiered stem": dataclasses.replace(BASE, stem_type="deep_tiered", stem_width=8, avg_down=True),
    "squeeze-and-excitation": dataclasses.replace(BASE, attn_layer="se"),
    "small": dataclasses.replace(find_architecture("resnext26_small"), layers=(1, 1, 1, 1)),
}


@pytest.mark.parametrize("architecture", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("size", [(64, 64), (95, 77)], ids=["64x64", "95x77"])
def test_openvino_and_keras_give_the_same_numbers(architecture, size):
    tensors = random_tensors(architecture, 7)
    config = ModelConfig(
        "resnext50_32x4d",
        architecture,
        tuple("abcdefg"),
        Preprocessing(64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
    )
    pixels = np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8)
    graph = openvino.Core().compile_model(
        build_graph(config, tensors, size), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    served = graph({"images": pixels})
    model = build_model(architecture, 7, preprocessing=config.preprocessing)
    load_into_keras(model, tensors)
    logits = model(pixels.astype(np.float32), training=False).numpy()
    assert np.abs(served["logits"] - logits).max() < 1e-5 * np.abs(logits).max()
    expected = np.exp(logits - logits.max())
    assert np.allclose(served["probabilities"], expected / expected.sum(), atol=1e-5)
    features = build_model(architecture, preprocessing=config.preprocessing, features_only=True)
    load_into_keras(features, {key: value for key, value in tensors.items() if not key.startswith("fc.")})
    last = features(pixels.astype(np.float32), training=False)["layer4"].numpy().transpose(0, 3, 1, 2)
    assert np.abs(served["features"] - last).max() < 1e-5 * np.abs(last).max()


@pytest.mark.parametrize("size", [32, 33])
def test_the_smallest_image_size_runs_in_every_variant(size):
    for architecture in VARIANTS.values():
        config = ModelConfig("resnext50_32x4d", architecture, ("a", "b"), Preprocessing(size))
        graph = openvino.Core().compile_model(build_graph(config, random_tensors(architecture, 2)), "CPU")
        output = graph({"images": np.full((1, size, size, 3), 90, np.uint8)})
        assert output["features"].shape == (1, architecture.features, -(-size // 32), -(-size // 32))
        assert output["probabilities"].sum() == pytest.approx(1, abs=1e-4)


def test_the_graph_has_the_config_s_size_unless_another_is_given(tiny_config):
    tensors = random_tensors(tiny_config.architecture, 3)
    assert list(build_graph(tiny_config, tensors).input("images").shape) == [1, 64, 64, 3]
    assert list(build_graph(tiny_config, tensors, (40, 72)).input("images").shape) == [1, 40, 72, 3]


def test_half_precision_weights_give_nearly_the_same_logits(tiny_config):
    tensors = random_tensors(tiny_config.architecture, 3)
    halves = {key: value.astype(np.float16) for key, value in tensors.items()}
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    full, half = (
        openvino.Core().compile_model(
            build_graph(tiny_config, t), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )({"images": pixels})["logits"]
        for t in (tensors, halves)
    )
    assert np.abs(full - half).max() < 5e-3 * np.abs(full).max()


def test_tensors_that_do_not_fit_are_named_with_their_file(tiny_config):
    tensors = random_tensors(tiny_config.architecture, 3)
    del tensors["layer2.0.conv2.weight"]
    with pytest.raises(WeightsError, match="there.safetensors has no tensor 'layer2.0.conv2.weight'"):
        build_graph(tiny_config, tensors, where="there.safetensors")
