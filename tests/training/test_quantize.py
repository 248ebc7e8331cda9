"""An int8 graph is made, measured, pushed and used, and one that is stale or hostile is not."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import training.quantize as quantize_module
from resnext.architecture import Architecture
from resnext.card import write_card
from resnext.classifier import Classifier
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import DataError, RepositoryError, WeightsError
from resnext.int8 import weights_digest
from resnext.openvino_graph import build_graph
from resnext.repository import PATTERNS, find_repository
from resnext.weights import save_tensors
from tests.helpers.hub_server import TOKEN, HubServer, environment, in_this_process
from tests.helpers.repositories import random_tensors
from tests.helpers.training import run_training
from training.cli import app
from training.data import find_images
from training.evaluate import measure
from training.quantize import decide, quantize

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
COLORS = {"blue": (40, 60, 200), "green": (50, 190, 70), "red": (210, 50, 40)}
# In every process: a list of who else than this machine was looked up or called.
GUARD = """
import os, socket

def watch(name, position):
    real = getattr(socket, name) if position is None else getattr(socket.socket, name)

    def watched(*arguments, **options):
        host = arguments[0] if position is None else arguments[1]
        host = host[0] if isinstance(host, tuple) else host
        if str(host) not in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "None"):
            with open(os.environ["CALLED"], "a") as file:
                print(host, file=file)
        return real(*arguments, **options)

    setattr(socket if position is None else socket.socket, name, watched)

watch("getaddrinfo", None)
watch("connect", 1)
"""


def save_images(folder: pathlib.Path, count: int, seed: int, **counts: int) -> None:
    """Saves `count` images of each class, or as many as `counts` says for the class."""
    rng = np.random.default_rng(seed)
    for name, color in COLORS.items():
        (folder / name).mkdir(parents=True)
        for index in range(counts.get(name, count)):
            pixels = np.clip(np.array(color) + rng.normal(0, 30, (9, 9, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((80, 72), Image.Resampling.BICUBIC).save(
                folder / name / f"{index}.png"
            )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Photographs, so to speak, in three colors."""
    folder = tmp_path_factory.mktemp("colors")
    for seed, (split, count) in enumerate({"train": 8, "val": 2, "test": 6}.items()):
        save_images(folder / split, count, seed)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, data):
    """A model that tells them apart: random features, and the nearest class mean of them."""
    folder = tmp_path_factory.mktemp("model") / "colors"
    architecture = Architecture(
        layers=(1, 1, 1, 1), channels=(8, 16, 16, 32), cardinality=4, base_width=16, attn_layer="se"
    )
    ModelConfig("resnext50_32x4d", architecture, tuple(COLORS), Preprocessing(64)).write(
        folder / "config.json"
    )
    tensors = random_tensors(architecture, len(COLORS))
    save_tensors(tensors, folder / "model.safetensors")
    classifier = Classifier.from_pretrained(folder, precision="float32")
    means = np.stack(
        [
            np.mean(
                [classifier.infer(file).features.mean((1, 2)) for file in (data / "train" / name).iterdir()],
                axis=0,
            )
            for name in COLORS
        ]
    )
    scale = 20 / np.square(means - means.mean(0)).sum(1).mean()
    tensors["fc.weight"], tensors["fc.bias"] = scale * means, -scale / 2 * np.square(means).sum(1)
    save_tensors(
        {key: value.astype(np.float32) for key, value in tensors.items()}, folder / "model.safetensors"
    )
    return folder


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, model, data):
    """A Hub that has the model as tester/colors, which `quantize` pulled from there.

    Returns:
        hub; folder, what `quantize` made; result, of its process; run, for other commands; and called,
        a file that lists the servers that any of them called.
    """
    home = tmp_path_factory.mktemp("home")
    (home / "guard").mkdir()
    (home / "guard" / "sitecustomize.py").write_text(GUARD)
    with HubServer() as hub:
        variables = {
            **os.environ,
            **environment(hub.url, home, TOKEN),
            "CALLED": str(home / "called"),
            "PYTHONPATH": str(home / "guard"),
        }

        def run(*arguments):
            command = [sys.executable, "-m", *map(str, arguments)]
            return subprocess.run(
                command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=300
            )

        assert run("training", "push", model, "tester/colors").returncode == 0
        folder = home / "int8" / "colors"
        result = run("training", "quantize", "tester/colors", "--calibration", data, "--output", folder)
        assert result.returncode == 0, result.stderr
        yield types.SimpleNamespace(hub=hub, folder=folder, result=result, called=home / "called", run=run)


@pytest.fixture
def copy(quantized, tmp_path):
    """A copy of the quantised repository, to spoil."""
    shutil.copytree(quantized.folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_command_says_what_int8_costs_and_calls_nobody(quantized):
    lines = quantized.result.stdout.splitlines()
    assert lines[:2] == [
        "Calibrating on 24 of 24 training images.",
        "int8 classifies 0 of 6 validation images wrongly that float32 classifies correctly, "
        "and 0 the other way round: accepted (p = 1).",
    ]
    measured = r"loss \d\.\d{4} on 18 test images, \d\.\d MB\."
    assert re.fullmatch(rf"float32: top-1 accuracy 1\.0000, {measured}", lines[2])
    assert re.fullmatch(rf"int8: top-1 accuracy \d\.\d{{4}}, {measured}", lines[3])
    assert len(lines) == 4
    assert not quantized.called.exists()


def test_what_the_command_measured_is_what_the_classifier_does(quantized, model, data):
    notes = json.loads((quantized.folder / "quantization.json").read_text())
    assert notes["weights_sha256"] == weights_digest(model)
    assert notes["calibration"]["images"] == 24
    assert (notes["split"], notes["samples"]) == ("test", 18)
    assert notes["decision"] == {
        "split": "val",
        "images": 6,
        "worse": 0,
        "better": 0,
        "p": 1.0,
        "passed": True,
    }
    images = find_images(data).splits["test"]
    for precision in ("float32", "int8"):
        classifier = Classifier.from_pretrained(quantized.folder, precision=precision)
        assert (classifier.precision, classifier.notice) == (precision, "")
        logits = np.stack([classifier.infer(file).logits for file in images.files])
        measured = measure(logits, images.labels, tuple(COLORS), list(map(str, images.files)))
        assert notes[precision]["top1"] == measured.top1
        assert notes[precision]["loss"] == pytest.approx(measured.loss, rel=1e-3)
    assert notes["float32"]["bytes"] == (model / "model.safetensors").stat().st_size
    assert notes["int8"]["bytes"] == sum(
        (quantized.folder / f"openvino_int8.{kind}").stat().st_size for kind in ("xml", "bin")
    )


def test_int8_answers_nearly_as_float32_does_with_another_arithmetic(quantized, data):
    file = next((data / "test" / "red").iterdir())
    exact, small = (
        Classifier.from_pretrained(quantized.folder, precision=precision).infer(file)
        for precision in ("float32", "int8")
    )
    assert 0 < np.abs(exact.probabilities - small.probabilities).max() < 0.1
    assert small.features.shape == exact.features.shape
    assert np.corrcoef(small.features.ravel(), exact.features.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, []),
        ({"attn_layer": "se"}, ["Multiply"] * 4),
        ({"stem_type": "deep", "attn_layer": "se"}, ["Convolution"] * 3 + ["Multiply"] * 4),
    ],
)
def test_deep_stems_and_squeeze_and_excite_stay_in_float32(options, kinds):
    architecture = Architecture(layers=(1, 1, 1, 1), channels=(8, 8, 8, 8), cardinality=2, **options)
    config = ModelConfig("resnext50_32x4d", architecture, ("ant", "bee"), Preprocessing(64))
    graph = build_graph(config, random_tensors(architecture, 2))
    layers = {layer.get_friendly_name(): layer.get_type_name() for layer in graph.get_ordered_ops()}
    assert [layers[name] for name in quantize_module._sensitive_layers(graph)] == kinds


def test_the_card_states_size_and_accuracy_before_and_after(quantized):
    notes, card = (
        json.loads((quantized.folder / "quantization.json").read_text()),
        (quantized.folder / "README.md").read_text("utf-8"),
    )
    for name in ("float32", "int8"):
        made = notes[name]
        row = f"| {name} | {made['top1']:.2%} | {made['loss']:.4f} | {made['bytes'] / 1e6:.1f} |"
        assert row in card
    assert "same 18 test images" in card
    assert "Of 6 validation images, int8 classifies 0 wrongly that float32 classifies correctly" in card
    assert 'Classifier.from_pretrained("OWNER/colors", precision="int8")' in card


def test_a_pushed_graph_classifies_from_the_hub(quantized, data):
    pushed = quantized.run("training", "push", quantized.folder, "tester/colors-int8")
    assert pushed.returncode == 0, pushed.stderr
    _, _, files = quantized.hub.repos["model", "tester/colors-int8"].find("main")
    assert {
        "openvino_int8.xml",
        "openvino_int8.bin",
        "quantization.json",
        "model.safetensors",
        "config.json",
    } < set(files)
    photograph = next((data / "test" / "green").iterdir())
    with_int8, without = (
        quantized.run("resnext", "classify", photograph, "--model", name, "--precision", "int8", "--json")
        for name in ("tester/colors-int8", "tester/colors")
    )
    assert (with_int8.returncode, with_int8.stderr, without.returncode) == (0, "", 0)
    best = Classifier.from_pretrained(quantized.folder, precision="int8")(photograph, 1)[0]
    assert json.loads(with_int8.stdout)["predictions"][0] == {
        "label": "green",
        "probability": pytest.approx(best.probability, rel=1e-3),
    }
    assert without.stderr.startswith(
        "python -m resnext: tester/colors has no int8 graph: classifying in float32;"
    )
    assert json.loads(without.stdout)["predictions"][0]["label"] == "green"
    assert not quantized.called.exists()


def test_the_card_s_snippet_for_openvino_alone_runs(copy, quantized, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(next((data / "test" / "green").iterdir()), "photo.jpg")
    with in_this_process(quantized.hub.url, tmp_path / "home"):
        assert run_training("push", copy, "tester/snippet").returncode == 0
        card = (copy / "README.md").read_text("utf-8")
        (snippet,) = [
            text for text in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "openvino\n" in text
        ]
        exec(snippet, ran := {})
    best = Classifier.from_pretrained(copy, precision="int8")(tmp_path / "photo.jpg", 1)[0]
    assert max(ran["probabilities"]) == pytest.approx(best.probability, abs=0.05)


def test_a_hub_repository_needs_an_output(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "training.quantize", None)  # said before its slow import
    result = run_training("quantize", "tester/colors", "--calibration", data)
    assert result.returncode == 1
    assert result.stderr.strip().endswith(
        "tester/colors is not a local folder: give one for the results with --output."
    )


def test_new_weights_make_the_graph_stale(copy, quantized):
    config = ModelConfig.read(copy / "config.json")
    save_tensors(random_tensors(config.architecture, 3, seed=1), copy / "model.safetensors")
    classifier = Classifier.from_pretrained(copy, precision="int8")
    assert classifier.precision == "float32"
    assert f"{copy} has a stale int8 graph" in classifier.notice
    write_card(copy)
    assert "Int8 quantization" not in (copy / "README.md").read_text("utf-8")
    assert quantized.run("training", "push", copy, "tester/stale").returncode == 0
    _, _, files = quantized.hub.repos["model", "tester/stale"].find("main")
    assert "model.safetensors" in files
    assert not {"openvino_int8.xml", "openvino_int8.bin", "quantization.json"} & set(files)


def test_a_card_of_one_s_own_keeps_its_words_and_gets_one_section(copy):
    own = "---\nlicense: mit\n---\n# Mine\n\nMy words.\n"
    (copy / "README.md").write_text(own)
    for _ in range(2):
        write_card(copy, "me/colors")
    card = (copy / "README.md").read_text("utf-8")
    assert card.startswith(own)
    assert card.count("## Int8 quantization") == 1
    (copy / "openvino_int8.xml").unlink()
    write_card(copy)
    assert (copy / "README.md").read_text("utf-8") == own


# The p-values are those of SciPy's `binomtest(worse, worse + better, alternative="greater")`.
@pytest.mark.parametrize(
    "images, worse, better, p, passed",
    [
        (18, 0, 0, 1, True),
        (100, 1, 0, 0.5, True),
        (100, 50, 49, 0.5, True),
        (100, 4, 0, 0.0625, True),
        (100, 5, 0, 0.03125, False),
        (100, 0, 3, 1, True),
        (367, 6, 1, 0.0625, True),
        (367, 7, 1, 0.03515625, False),
        (500, 19, 10, 0.06802297383546829, True),
        (500, 20, 10, 0.04936857335269451, False),
        (1000, 5, 0, 0.03125, True),  # a loss of just 0.5 points
        (5000, 25, 0, 2**-25, True),
        (5000, 26, 0, 2**-26, False),
        (5000, 147, 102, 0.0025967579939788674, False),
        (50_000, 20_000, 20_000, 0.5019946989351, True),
        (50_000, 40_000, 0, 0, False),
    ],
)
def test_only_a_significant_loss_above_the_limit_fails(images, worse, better, p, passed):
    float32, int8 = np.zeros((2, images), bool)
    float32[:worse] = int8[worse : worse + better] = True
    decision = decide("val", float32, int8)
    assert decision == ("val", images, worse, better, pytest.approx(p, rel=1e-9), passed)


def spoil_quantization(monkeypatch, change) -> None:
    """Replaces quantization by a change of the weights."""
    monkeypatch.setattr(
        quantize_module, "_quantized", lambda config, tensors, images: build_graph(config, change(tensors))
    )


def never_green(tensors):
    return {**tensors, "fc.bias": tensors["fc.bias"] - np.array([0, 1000, 0], np.float32)}


def classify_opposite(tensors):
    return {**tensors, "fc.weight": -tensors["fc.weight"], "fc.bias": -tensors["fc.bias"]}


def run_quantize(folder: pathlib.Path, data: pathlib.Path, *options: str):
    return CliRunner().invoke(app, ["quantize", str(folder), "--calibration", str(data), *options])


def test_a_graph_that_loses_accuracy_is_refused_unless_forced(model, data, tmp_path, monkeypatch):
    folder = shutil.copytree(model, tmp_path / "model")
    before = sorted(file.name for file in folder.iterdir())
    spoil_quantization(monkeypatch, classify_opposite)
    loss = (
        "int8 classifies 6 of 6 validation images wrongly that float32 classifies correctly, and 0 the other "
        "way round: a significant loss of 100.00 points of top-1 accuracy, more than 0.5 (p = 0.016)."
    )
    refused = run_quantize(folder, data)
    assert isinstance(refused.exception, WeightsError)
    assert str(refused.exception) == f"{loss} Nothing is written: add --force to keep it anyway."
    assert refused.output == "Calibrating on 24 of 24 training images.\n"  # not a word on the test set
    assert sorted(file.name for file in folder.iterdir()) == before

    forced = run_quantize(folder, data, "--force")
    assert forced.exit_code == 0, forced.output
    assert f"{loss} Kept because of --force." in forced.output
    notes = json.loads((folder / "quantization.json").read_text())
    assert notes["int8"]["top1"] < 0.9 < notes["float32"]["top1"]
    assert notes["decision"]["passed"] is False
    card = (folder / "README.md").read_text("utf-8")
    assert "This is a significant loss of 100.00 points; the graph was kept with `--force`." in card
    assert Classifier.from_pretrained(folder, precision="int8").precision == "int8"


def test_one_image_of_a_hundred_passes_and_the_test_set_is_not_asked(model, data, tmp_path, monkeypatch):
    save_images(tmp_path / "data" / "val", 50, seed=3, green=1, red=49)
    for split in ("train", "test"):
        (tmp_path / "data" / split).symlink_to(data / split)
    spoil_quantization(monkeypatch, never_green)
    folder = shutil.copytree(model, tmp_path / "model")
    result = run_quantize(folder, tmp_path / "data")
    assert result.exit_code == 0, result.exception
    assert "int8 classifies 1 of 100 validation images wrongly" in result.output
    notes = json.loads((folder / "quantization.json").read_text())
    assert (notes["float32"]["top1"], notes["int8"]["top1"]) == (1, pytest.approx(12 / 18))


def test_a_folder_without_a_test_set_is_measured_on_its_validation_set(model, data, tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "val"):
        (tmp_path / "data" / split).symlink_to(data / split)
    folder = shutil.copytree(model, tmp_path / "model")
    result = run_quantize(folder, tmp_path / "data")
    assert result.exit_code == 0, result.exception
    assert "has no test images: accuracy is measured on the validation images, too." in result.output
    assert len(re.findall("on 6 validation images, ", result.output)) == 2
    notes = json.loads((folder / "quantization.json").read_text())
    assert (notes["split"], notes["samples"], notes["decision"]["split"]) == ("val", 6, "val")
    assert "same 6 validation images" in (folder / "README.md").read_text("utf-8")


def without(images, *splits: str):
    kept = {name: split for name, split in images.splits.items() if name not in splits}
    return dataclasses.replace(images, splits=kept)


def test_without_a_validation_set_the_test_set_decides(model, data, tmp_path, monkeypatch):
    spoil_quantization(monkeypatch, never_green)
    images, lines = without(find_images(data), "val"), []
    with pytest.raises(WeightsError, match="int8 classifies 6 of 18 test images wrongly"):
        quantize(images, find_repository(model), tmp_path / "out", report=lines.append)
    assert f"{data} has no validation images: the test images decide, too." in lines
    assert not (tmp_path / "out").exists()


def test_notes_of_older_versions_give_the_card_they_gave(copy):
    path = copy / "quantization.json"
    notes = json.loads(path.read_text())
    del notes["split"], notes["decision"]
    path.write_text(json.dumps(notes))
    write_card(copy)
    card = (copy / "README.md").read_text("utf-8")
    assert "same 18 test images" in card
    assert "McNemar" not in card


def test_data_that_cannot_calibrate_or_measure_is_named(model, data, tmp_path):
    images = find_images(data)
    for missing, words in (
        (["train"], "no train folder to calibrate on"),
        (["val", "test"], "no val and no test folder to compare int8 with float32 on"),
    ):
        with pytest.raises(DataError, match=words):
            quantize(
                without(images, *missing),
                find_repository(model),
                tmp_path / "out",
                report=lambda line: None,
            )
    save_images(tmp_path / "more", 10, seed=5)
    (tmp_path / "more" / "red").rename(tmp_path / "more" / "violet")
    with pytest.raises(DataError, match="a class 'violet' that the model does not have"):
        quantize(
            find_images(tmp_path / "more"), find_repository(model), tmp_path / "out", report=lambda line: None
        )
    assert not (tmp_path / "out").exists()


def test_an_output_that_holds_another_model_is_left_alone(model, data, tiny_repository):
    with pytest.raises(RepositoryError, match="holds another model"):
        quantize(find_images(data), find_repository(model), tiny_repository, report=lambda line: None)
    assert "openvino_int8.xml" in PATTERNS
    assert not (tiny_repository / "openvino_int8.xml").exists()


def edit(pattern: str, replacement: str):
    """Changes the first place in the graph that a pattern matches."""

    def spoil(folder: pathlib.Path) -> None:
        path = folder / "openvino_int8.xml"
        changed, count = re.subn(pattern, replacement, path.read_text("utf-8"), count=1, flags=re.DOTALL)
        assert count == 1
        path.write_text(changed, "utf-8")

    return spoil


def rename_output(folder: pathlib.Path) -> None:
    """Renames an output of the graph, at its Result (since OpenVINO 2026) and at the port before it."""
    path = folder / "openvino_int8.xml"
    text = path.read_text("utf-8")
    renamed = text.replace('names="probabilities"', 'names="surprise"')
    assert renamed != text
    path.write_text(renamed, "utf-8")


def shorten(name: str, size: int):
    def spoil(folder: pathlib.Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:size])

    return spoil


def multiply_weights(folder: pathlib.Path, times: int = 200, dtype=np.float32) -> None:
    """Puts operations before a convolution's weights, which OpenVINO folds and keeps in memory."""
    import openvino
    import openvino.opset1 as ops

    graph = openvino.Core().read_model(folder / "openvino_int8.xml")
    largest = max(
        (op for op in graph.get_ops() if op.get_type_name() == "Convolution"),
        key=lambda op: np.prod(op.input_value(1).shape),
    )
    weights = largest.input_value(1)
    for _ in range(times):
        factor = openvino.op.Constant(np.ones(list(weights.shape), dtype))
        weights = ops.multiply(weights, factor if dtype is np.float32 else ops.convert(factor, "f32")).output(
            0
        )
    largest.input(1).replace_source_output(weights)
    openvino.save_model(graph, folder / "saved.xml", compress_to_fp16=False)
    del graph, largest, weights, factor  # which map the files
    for kind in ("xml", "bin"):
        (folder / f"saved.{kind}").replace(folder / f"openvino_int8.{kind}")


HOSTILE = {
    "nothing": shorten("openvino_int8.xml", 0),
    "half of it": shorten("openvino_int8.xml", 9000),
    "weights cut short": shorten("openvino_int8.bin", 100),
    "no weights": lambda folder: (folder / "openvino_int8.bin").unlink(),
    "a folder": lambda folder: (
        (folder / "openvino_int8.bin").unlink(),
        (folder / "openvino_int8.bin").mkdir(),
    ),
    "16 MiB of blanks": lambda folder: (folder / "openvino_int8.xml").write_bytes(
        (folder / "openvino_int8.xml").read_bytes() + b" " * 2**24
    ),
    "weights without end": lambda folder: os.truncate(folder / "openvino_int8.bin", 2**33),
    "another encoding": lambda folder: (folder / "openvino_int8.xml").write_bytes(
        b'<?xml version="1.0" encoding="iso-8859-15"?>'
        + (folder / "openvino_int8.xml")
        .read_bytes()
        .partition(b"?>")[2]
        .replace(b'"images"', b'"images,\xe9"')
    ),
    "entities in UTF-16": lambda folder: (folder / "openvino_int8.xml").write_text(
        '<!DOCTYPE net [<!ENTITY a "aaaa">]>'
        + (folder / "openvino_int8.xml").read_text("utf-8").partition("?>")[2],
        "utf-16",
    ),
    "options of OpenVINO": edit(
        "<rt_info>(?!.*</layers>)", '<rt_info><runtime_options><CACHE_DIR value="/tmp"/></runtime_options>'
    ),
    "work without end": multiply_weights,
    "constants that are doubles": lambda folder: multiply_weights(folder, 1, np.float64),
    "entities": edit("<net ", '<!DOCTYPE net [<!ENTITY a "aaaa">]><net '),
    "a loop": edit('type="ReLU"', 'type="Loop"'),
    "an operation of a newer kind": edit(
        'type="Sigmoid" version="opset1"', 'type="Sigmoid" version="opset4"'
    ),
    "an operation of an extension": edit('type="Add" version="opset1"', 'type="Add" version="extension"'),
    "other weights than there are": edit(r'offset="\d+" size', 'offset="99999999999" size'),
    "a negative place": edit(r'offset="\d+" size', 'offset="-64" size'),
    "a huge image": edit('shape="1,64,64,3" element_type="u8"', 'shape="1,65536,65536,3" element_type="u8"'),
    "images of any size": edit('shape="1,64,64,3" element_type="u8"', 'shape="?,?,?,3" element_type="u8"'),
    "floating-point images": edit('element_type="u8"', 'element_type="f32"'),
    "another stride": edit('strides="2, 2"', 'strides="1, 1"'),
    "another activation": edit('type="ReLU"', 'type="Sigmoid"'),
    "too many levels": edit('levels="256"', 'levels="65536"'),
    "an output of another name": rename_output,
    "a circle": edit(
        r'<edge from-layer="(\d+)"(.*?)to-layer="(\d+)"', r'<edge from-layer="\3"\2to-layer="\1"'
    ),
    "a number that is none": edit(r'<layer id="\d+"', '<layer id="one"'),
    "operations without end": edit(
        "<layers>", "<layers>" + '<layer id="9" name="x" type="Const" version="opset1"/>' * 20_000
    ),
    "notes that are none": lambda folder: (folder / "quantization.json").write_text("[" * 100_000),
}


def test_a_weight_may_be_scaled_once_more(copy):
    multiply_weights(copy, 1)  # or the two refusals by `multiply_weights` below would say nothing
    assert Classifier.from_pretrained(copy, precision="int8").precision == "int8"


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_spoiled_graph_is_not_used_and_float32_answers(copy, data, spoil):
    file = next((data / "test" / "blue").iterdir())
    exact = Classifier.from_pretrained(copy, precision="float32")(file)
    spoil(copy)
    classifier = Classifier.from_pretrained(copy, precision="int8")
    assert classifier.precision == "float32"
    assert re.search("has (an invalid|a stale) int8 graph", classifier.notice)
    assert len(classifier.notice) < 400
    assert classifier(file) == exact


def test_another_network_s_graph_is_not_used_even_with_a_matching_digest(copy, tiny_config):
    import openvino

    other = build_graph(tiny_config, random_tensors(tiny_config.architecture, 3))  # no squeeze-and-excitation
    openvino.save_model(other, copy / "openvino_int8.xml", compress_to_fp16=False)
    assert (
        "it is another network than config.json's"
        in Classifier.from_pretrained(copy, precision="int8").notice
    )
