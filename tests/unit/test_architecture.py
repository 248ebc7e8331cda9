import dataclasses

import numpy as np
import pytest

from resnext.architecture import ARCHITECTURES, Architecture, find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError
from resnext.keras_model import build_model
from resnext.shapes import network_modules, tensor_shapes
from resnext.weights import keras_tensors


@pytest.mark.parametrize(
    "name, parameters",
    [  # timm's counts at 1,000 classes
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("wide_resnet50_2", 68_883_240),
        ("resnext50_32x4d", 25_028_904),
        ("resnext50d_32x4d", 25_048_136),
        ("resnext101_32x4d", 44_177_704),
        ("resnext101_32x8d", 88_791_336),
        ("resnext101_32x16d", 194_026_792),
        ("resnext101_32x32d", 468_530_472),
        ("resnext101_64x4d", 83_455_272),
        ("seresnext26d_32x4d", 16_809_512),
        ("seresnext26t_32x4d", 16_806_976),
        ("seresnext50_32x4d", 27_559_896),
        ("seresnext101_32x4d", 48_955_416),
        ("seresnext101_32x8d", 93_569_048),
        ("seresnext101_64x4d", 88_232_984),
        ("seresnext101d_32x8d", 93_588_280),
        ("seresnextaa101d_32x8d", 93_588_280),
        ("seresnextaa201d_32x8d", 149_394_904),
        ("legacy_seresnext26_32x4d", 16_790_280),
        ("legacy_seresnext50_32x4d", 27_559_896),
        ("legacy_seresnext101_32x4d", 48_955_416),
    ],
)
def test_parameters_are_timm_s(name, parameters):
    modules = network_modules(find_architecture(name), 1000)
    assert sum(module.parameters for module in modules) == parameters


def test_resnext_50_has_the_paper_s_4_2_billion_multiply_adds():
    total = sum(
        module.multiply_adds for module in network_modules(find_architecture("resnext50_32x4d"), 1000)
    )
    assert round(total / 1e9, 1) == 4.2


def test_shapes_are_those_of_the_keras_model():
    for name in ("resnext26_small", "resnext50_32x4d"):
        architecture = dataclasses.replace(find_architecture(name), layers=(1, 2, 1, 1))
        tensors = keras_tensors(build_model(architecture, 3))
        assert {key: value.shape for key, value in tensors.items()} == tensor_shapes(architecture, 3)


def test_any_depths_cardinality_and_width_build_and_run():
    architecture = Architecture(layers=(1, 2, 1, 3), cardinality=3, base_width=8, channels=(8, 16, 24, 40))
    model = build_model(architecture, 4)
    assert model(np.zeros((2, 33, 47, 3), np.float32)).shape == (2, 4)
    assert architecture.bottleneck_width(64) == 24


def test_features_only_gives_four_maps_with_strides_4_to_32():
    architecture = find_architecture("resnext26_small")
    maps = build_model(architecture, 0, features_only=True)(np.zeros((1, 64, 96, 3), np.float32))
    assert [tuple(maps[f"layer{stage}"].shape) for stage in range(1, 5)] == [
        (1, 16, 24, 128),
        (1, 8, 12, 256),
        (1, 4, 6, 512),
        (1, 2, 3, 1024),
    ]


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(ConfigError, match="did you mean 'resnext50_32x4d'"):
        find_architecture("resnext50-32x4d")
    with pytest.raises(ConfigError, match="known are resnet26"):
        find_architecture("vit_base_patch16_224")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"layers": (3, 4, 6)}, "four stages"),
        ({"layers": (3, 4, 6, 0)}, "layers"),
        ({"layers": (3, 4, 6, 2000)}, "residual blocks"),
        ({"cardinality": 0}, "cardinality"),
        ({"cardinality": True}, "cardinality"),
        ({"base_width": 1e9}, "base_width"),
        ({"base_width": 10**9}, "base_width"),
        ({"base_width": 10**400}, "base_width"),
        ({"channels": (10**400,) * 4}, "channels"),
        ({"cardinality": 60_000}, "bottleneck channels"),
        ({"stem_type": "deep_tiered", "stem_width": 3}, "stem_width of 4"),
        ({"stem_type": "patch"}, "stem_type"),
        ({"attn_layer": "eca"}, "attn_layer"),
        ({"avg_down": 1}, "avg_down"),
        ({"legacy": "yes"}, "legacy"),
        ({"aa_layer": "blur"}, "aa_layer"),
        ({"drop_path_rate": 1.0}, "drop_path_rate"),
    ],
)
def test_values_out_of_range_are_named(change, words):
    with pytest.raises(ConfigError, match=words):
        Architecture(**change)


def test_every_name_is_a_valid_architecture():
    assert {"resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d", "resnet50"} <= set(
        ARCHITECTURES
    )


def test_an_anti_aliased_network_needs_a_multiple_of_32():
    architecture = find_architecture("seresnextaa101d_32x8d")
    with pytest.raises(ConfigError, match="multiple of 32, not 240"):
        ModelConfig("seresnextaa101d_32x8d", architecture, ("a", "b"), Preprocessing(240))
