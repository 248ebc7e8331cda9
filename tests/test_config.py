import dataclasses
import json

import pytest

from resnext.architecture import find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError

PUBLISHED = {  # as timm/resnext50_32x4d.a1h_in1k has it
    "architecture": "resnext50_32x4d",
    "num_classes": 1000,
    "num_features": 2048,
    "pretrained_cfg": {
        "tag": "a1h_in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "test_input_size": [3, 288, 288],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "test_crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 1000,
        "pool_size": [7, 7],
        "first_conv": "conv1",
        "classifier": "fc",
    },
}


def test_a_config_survives_its_file(tmp_path, tiny_config):
    for config in (tiny_config, ModelConfig("resnext26_small", find_architecture("resnext26_small"), ("α", "b"), Preprocessing(144, 0.9))):
        config.write(tmp_path / "config.json")
        assert ModelConfig.read(tmp_path / "config.json") == config


def test_timm_s_published_config_is_read():
    config = ModelConfig.from_json(PUBLISHED)
    assert config.architecture == find_architecture("resnext50_32x4d")
    assert config.num_classes == 1000 and config.label_names[7] == "class 7"
    assert config.preprocessing == Preprocessing(224, 0.95, "bicubic")
    assert config.preprocessing.resize_to == 235


def test_the_older_flat_form_is_read():
    flat = {"architecture": "resnext50_32x4d", **PUBLISHED["pretrained_cfg"]}
    assert ModelConfig.from_json(flat) == ModelConfig.from_json(PUBLISHED)


def test_a_small_net_is_written_as_a_name_and_arguments_that_timm_knows():
    values = ModelConfig("resnext26_small", find_architecture("resnext26_small"), ("a", "b")).to_json()
    assert values["architecture"] == "resnext50_32x4d"
    assert values["model_args"]["block_args"] == {"attn_layer": "se"}
    assert values["model_args"]["layers"] == [2, 2, 2, 2]
    assert values["label_names"] == ["a", "b"] and values["pretrained_cfg"]["first_conv"] == "conv1.0"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"architecture": "vit_base_patch16_224"}, "Unknown architecture"),
        ({"architecture": None}, "names no architecture"),
        ({"architecture": ["resnet50"]}, "names no architecture"),
        ({"num_classes": -1}, "num_classes"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"num_classes": "many"}, "num_classes"),
        ({"label_names": ["a"]}, "label_names has 1 names, but num_classes is 1000"),
        ({"label_names": "abc"}, "label_names"),
        ({"model_args": [1]}, "model_args has to be an object"),
        ({"model_args": {"output_stride": 8}}, "output_stride"),
        ({"model_args": {"layers": "3463"}}, "layers"),
        ({"model_args": {"cardinality": 10**9}}, "cardinality|channels"),
        ({"pretrained_cfg": {"input_size": [3, 10**6, 10**6]}}, "image size"),
        ({"pretrained_cfg": {"input_size": [3, 224, 192]}}, "input_size"),
        ({"pretrained_cfg": {"input_size": [3, 31, 31]}}, "image size"),
        ({"pretrained_cfg": {"input_size": [3, True, True]}}, "image size"),
        ({"model_args": {"base_width": 10**400}}, "base_width"),
        ({"num_classes": 1, "label_names": ["\ud800"]}, "no Unicode text"),
        ({"pretrained_cfg": {"crop_pct": 0}}, "crop_pct"),
        ({"pretrained_cfg": {"input_size": [3, 4096, 4096], "crop_pct": 0.05}}, "resize to 81920 pixels"),
        ({"pretrained_cfg": {"crop_pct": float("nan")}}, "crop_pct"),
        ({"pretrained_cfg": {"interpolation": "random"}}, "interpolation"),
        ({"pretrained_cfg": {"std": [0, 0, 0]}}, "std"),
        ({"pretrained_cfg": {"mean": "grey"}}, "mean"),
    ],
)
def test_a_config_that_cannot_be_used_is_named_with_its_fault(tmp_path, change, words):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**PUBLISHED, **change}))
    with pytest.raises(ConfigError, match=words) as error:
        ModelConfig.read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff", '"resnet50"', "[]", "null", ""])
def test_broken_json_is_one_clear_error(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError) as error:
        ModelConfig.read(path)
    assert str(path) in str(error.value)


def test_a_missing_and_a_huge_config_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="is missing"):
        ModelConfig.read(tmp_path / "config.json")
    (tmp_path / "config.json").write_bytes(b" " * (17 * 2**20))
    with pytest.raises(ConfigError, match="larger than"):
        ModelConfig.read(tmp_path / "config.json")


def test_preprocessing_is_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Preprocessing().image_size = 1
