import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest

from resnext.architecture import find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError

TIMM = json.loads(
    (pathlib.Path(__file__).parents[1] / "fixtures" / "timm_configs.json").read_text(encoding="utf-8")
)
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
    padded = Preprocessing(144, 0.9, crop_mode="border", test_image_size=192, test_crop_pct=1.0)
    for config in (
        tiny_config,
        ModelConfig("resnext26_small", find_architecture("resnext26_small"), ("α", "b"), padded),
    ):
        config.write(tmp_path / "config.json")
        assert ModelConfig.read(tmp_path / "config.json") == config


def test_timm_s_published_config_is_read():
    config = ModelConfig.from_json(PUBLISHED)
    assert config.architecture == find_architecture("resnext50_32x4d")
    assert config.num_classes == 1000
    assert config.label_names[7] == "cock"
    assert config.preprocessing == Preprocessing(224, 0.95, "bicubic", test_image_size=288, test_crop_pct=1.0)
    assert config.preprocessing.resize_to == 235
    assert config.preprocessing.at_test_size().resize_to == 288


@pytest.mark.parametrize("name", TIMM)
def test_every_published_config_is_read_as_timm_reads_it(name):
    entry = TIMM[name]
    today = entry["config"]
    before = {key: value for key, value in today.items() if key not in ("model_args", "global_pool")}
    flat = {"architecture": today["architecture"], "num_features": 2048, **today["pretrained_cfg"]}
    with_nulls = {
        **before,
        "pretrained_cfg": {
            "test_input_size": None,
            "test_crop_pct": None,
            "label_names": None,
            **before["pretrained_cfg"],
        },
    }
    for form in (today, before, flat, with_nulls):
        if today["num_classes"] == 0:
            with pytest.raises(ConfigError, match="no classes"):
                ModelConfig.from_json(form)
            continue
        config = ModelConfig.from_json(form)
        assert config.architecture == find_architecture(name.split(".")[0])
        for preprocessing, expected in (
            (config.preprocessing, entry["eval"]),
            (config.preprocessing.at_test_size(), entry["test"]),
        ):
            read = dataclasses.asdict(preprocessing) | {
                "mean": list(preprocessing.mean),
                "std": list(preprocessing.std),
            }
            assert [
                read[key] for key in ("image_size", "crop_pct", "crop_mode", "interpolation", "mean", "std")
            ] == expected
        written = config.to_json()["pretrained_cfg"]
        for key in (
            "input_size",
            "test_input_size",
            "crop_pct",
            "test_crop_pct",
            "crop_mode",
            "interpolation",
            "mean",
            "std",
        ):
            assert written.get(key) == today["pretrained_cfg"].get(key), key


def test_the_older_flat_form_is_read():
    flat = {"architecture": "resnext50_32x4d", **PUBLISHED["pretrained_cfg"]}
    assert ModelConfig.from_json(flat) == ModelConfig.from_json(PUBLISHED)


def test_unnamed_imagenet_classes_get_imagenet_s_names():
    names = ModelConfig.from_json(TIMM["legacy_seresnext50_32x4d.in1k"]["config"]).label_names
    known = {
        0: "tench, Tinca tinca",
        1: "goldfish, Carassius auratus",
        7: "cock",
        207: "golden retriever",
        281: "tabby, tabby cat",
        639: "maillot, tank suit",
        999: "toilet tissue, toilet paper, bathroom tissue",
    }
    assert {index: names[index] for index in known} == known
    assert len(set(names)) == 1000
    assert names[134].startswith("crane (")
    assert "bird" in names[134]
    assert names[517].startswith("crane (")
    assert "heavy objects" in names[517]

    names = ModelConfig.from_json(TIMM["seresnextaa101d_32x8d.sw_in12k"]["config"]).label_names
    assert len(set(names)) == 11821
    assert names[0] == "benthos"
    assert names[8512] == "cafe au lait"
    tags = {"num_classes": 21841, "pretrained_cfg": {"tag": "fb_in22k", "num_classes": 21841}}
    names = ModelConfig.from_json(PUBLISHED | tags).label_names
    assert len(set(names)) == 21841
    assert names[0] == "organism, being"


@pytest.mark.parametrize(
    "count, tag, named",
    [
        (1000, "sw_in12k_ft_in1k_288", True),
        (1000, None, True),
        (11821, "sw_in12k", True),
        (21841, "x_in21k", True),
        (1000, "sw_in12k", False),
        (1000, "my_butterflies", False),
        (37, "a1h_in1k", False),
        (10450, "in21k", False),
    ],
)
def test_imagenet_names_are_for_imagenet_s_classes_only(count, tag, named):
    names = ModelConfig.from_json(
        {**PUBLISHED, "num_classes": count, "pretrained_cfg": {"tag": tag, "num_classes": count}}
    ).label_names
    assert len(names) == count
    assert (names[7] != "class 7") == named


def test_imagenet_s_names_are_read_only_when_needed():
    code = "import resnext.config, resnext.imagenet; print(resnext.imagenet._read.cache_info().misses)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout == "0\n"


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"label_names": ["ant", "bee", "cat"]}, ("ant", "bee", "cat")),
        (
            {"label_names": {"0": "ant", "2": "cat"}},
            ("ant", "class 1", "cat"),
        ),  # as timm has it where there are gaps
        (
            {
                "label_names": ["n1", "n2", "n3"],
                "label_descriptions": {"n1": "crane", "n2": "crane", "n3": "ant"},
            },
            ("crane (n1)", "crane (n2)", "ant"),
        ),
        ({"label_names": ["n1", "n2", "n3"], "label_descriptions": {"n1": "crane"}}, ("crane", "n2", "n3")),
        ({"label_names": None}, ("class 0", "class 1", "class 2")),
    ],
)
def test_label_names_are_read_in_every_form_of_timm_s(changes, expected):
    assert ModelConfig.from_json({**PUBLISHED, "num_classes": 3, **changes}).label_names == expected
    flat = {"architecture": "resnext50_32x4d", **PUBLISHED["pretrained_cfg"], "num_classes": 3, **changes}
    assert ModelConfig.from_json(flat).label_names == expected
    flat["labels"] = flat.pop("label_names")
    assert ModelConfig.from_json(flat).label_names == expected
    inside = {**PUBLISHED, "num_classes": 3, "pretrained_cfg": {**PUBLISHED["pretrained_cfg"], **changes}}
    assert ModelConfig.from_json(inside).label_names == expected


def test_the_small_network_is_written_as_a_name_and_args_of_timm():
    values = ModelConfig("resnext26_small", find_architecture("resnext26_small"), ("a", "b")).to_json()
    assert values["architecture"] == "resnext50_32x4d"
    assert values["model_args"]["block_args"] == {"attn_layer": "se"}
    assert values["model_args"]["layers"] == [2, 2, 2, 2]
    assert values["label_names"] == ["a", "b"]
    assert values["pretrained_cfg"]["first_conv"] == "conv1.0"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"architecture": "vit_base_patch16_224"}, "Unknown architecture"),
        ({"architecture": None}, "does not name an architecture"),
        ({"architecture": ["resnet50"]}, "does not name an architecture"),
        ({"num_classes": -1}, "num_classes"),
        ({"num_classes": 0}, "no classes"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"num_classes": "many"}, "num_classes"),
        ({"label_names": ["a"]}, "label_names has 1 names, but num_classes is 1000"),
        ({"label_names": "abc"}, "label_names"),
        ({"label_names": {"1000": "a"}}, "label_names has an index '1000'"),
        ({"label_names": {"0": 1.5}}, "label_names"),
        ({"num_classes": 1, "label_names": ["a"], "label_descriptions": {"a": 1}}, "label_descriptions"),
        ({"num_classes": 1, "label_names": ["a"], "label_descriptions": ["a"]}, "label_descriptions"),
        ({"model_args": {"in_chans": 1}}, "1 channels"),
        ({"model_args": {"global_pool": "max"}}, "global_pool"),
        ({"model_args": [1]}, "model_args must be an object"),
        ({"model_args": {"output_stride": 8}}, "output_stride"),
        ({"model_args": {"layers": "3463"}}, "layers"),
        ({"model_args": {"cardinality": 10**9}}, "cardinality|channels"),
        ({"pretrained_cfg": {"input_size": [3, 10**6, 10**6]}}, "image size"),
        ({"pretrained_cfg": {"input_size": [3, 224, 192]}}, "input_size"),
        ({"pretrained_cfg": {"input_size": [3, 31, 31]}}, "image size"),
        ({"pretrained_cfg": {"input_size": [3, True, True]}}, "image size"),
        ({"model_args": {"base_width": 10**400}}, "base_width"),
        ({"num_classes": 1, "label_names": ["\ud800"]}, "not valid Unicode text"),
        ({"pretrained_cfg": {"crop_pct": 0}}, "crop_pct"),
        ({"pretrained_cfg": {"crop_mode": "zoom"}}, "crop_mode 'zoom': choose one of center, squash, border"),
        ({"pretrained_cfg": {"test_input_size": [3, 288, 320]}}, "test_input_size"),
        ({"pretrained_cfg": {"test_input_size": [3, 8192, 8192]}}, "image size"),
        ({"pretrained_cfg": {"test_input_size": [3, 0, 0]}}, "image size"),
        ({"pretrained_cfg": {"test_crop_pct": 2}}, "crop_pct"),
        (
            {"pretrained_cfg": {"test_input_size": [3, 4096, 4096], "test_crop_pct": 0.9}},
            "resize to 4551 pixels",
        ),
        ({"pretrained_cfg": {"input_size": [3, 4096, 4096], "crop_pct": 0.05}}, "resize to 81920 pixels"),
        ({"pretrained_cfg": {"crop_pct": float("nan")}}, "crop_pct"),
        ({"pretrained_cfg": {"interpolation": "random"}}, "interpolation"),
        ({"pretrained_cfg": {"std": [0, 0, 0]}}, "std"),
        ({"pretrained_cfg": {"mean": "gray"}}, "mean"),
    ],
)
def test_a_config_that_cannot_be_used_is_named_with_its_fault(tmp_path, change, words):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**PUBLISHED, **change}))
    with pytest.raises(ConfigError, match=words) as error:
        ModelConfig.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


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


@pytest.mark.parametrize(
    "name, today",
    [
        ("resnext50_32x4d.a1h_in1k", "resnext50_32x4d"),
        ("swsl_resnext101_32x8d", "resnext101_32x8d"),
        ("ssl_resnext50_32x4d", "resnext50_32x4d"),
        ("ig_resnext101_32x16d", "resnext101_32x16d"),
        ("tv_resnet152", "resnet152"),
        ("gluon_seresnext101_64x4d", "seresnext101_64x4d"),
        ("gluon_resnet50_v1b", "resnet50"),
        ("gluon_resnet50_v1c", "resnet50c"),
        ("gluon_resnet101_v1d", "resnet101d"),
        ("seresnext26tn_32x4d", "seresnext26t_32x4d"),
    ],
)
def test_an_architecture_by_an_older_name_of_timm_is_the_one_of_today(name, today):
    config = ModelConfig.from_json({**PUBLISHED, "architecture": name})
    assert (config.name, config.architecture) == (today, find_architecture(today))


def test_the_tag_after_an_architecture_says_what_the_classes_are():
    values = {"architecture": "resnext50_32x4d.my_butterflies", "num_classes": 1000}
    assert ModelConfig.from_json(values).label_names[7] == "class 7"
    assert (
        ModelConfig.from_json({**values, "architecture": "resnext50_32x4d.a1h_in1k"}).label_names[7] == "cock"
    )


@pytest.mark.parametrize(
    "name, reason",
    [
        ("resnet50_gn", "has group norm"),
        ("resnet18", "has basic blocks"),
        ("seresnext26ts", "has SiLU"),
        ("ecaresnet50d", "another kind of attention"),
        ("resnetv2_50", "blocks of another form"),
    ],
)
def test_a_network_of_other_parts_is_refused_by_name(name, reason):
    with pytest.raises(ConfigError, match=f"{name} .*{reason}.*which this project does not build"):
        ModelConfig.from_json({**PUBLISHED, "architecture": name})


@pytest.mark.parametrize("key", ["resnet26", "resnet50d", "resnet101d"])
def test_plain_resnets_are_built_in_their_variants(key):
    assert ModelConfig.from_json({**PUBLISHED, "architecture": key}).architecture == find_architecture(key)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"model_args": {"in_chans": 1}}, "images of 1 channels"),
        ({"pretrained_cfg": {"input_size": [1, 224, 224]}}, "images of 1 channels"),
        ({"pretrained_cfg": {"input_size": [3, 224, 320]}}, "224 x 320 pixels.*square"),
    ],
)
def test_inputs_that_are_not_square_rgb_images_are_refused_in_words(change, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig.from_json({**PUBLISHED, **change})


@pytest.mark.parametrize("names", [[3, 1, 2], {"0": 3, "1": 1, "2": 2}])
def test_numbers_may_be_names_of_classes(names):
    values = {"architecture": "resnext50_32x4d", "num_classes": 3, "label_names": names}
    assert ModelConfig.from_json(values).label_names == ("3", "1", "2")
