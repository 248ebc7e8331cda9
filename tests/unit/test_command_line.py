import json
import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from resnext.classifier import Classifier

ROOT = pathlib.Path(__file__).parents[2]


def classify(*arguments, **environment):
    command = [sys.executable, "-m", "resnext", "classify", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.fixture
def photographs(tmp_path):
    for name, colour in (("red.png", "red"), ("blue.jpg", "blue")):
        Image.new("RGB", (80, 60), colour).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_text_names_the_classes_with_percentages(photographs, tiny_repository):
    result = classify(photographs / "red.png", "--model", tiny_repository, "--top-k", 2)
    assert result.returncode == 0
    assert result.stderr == ""
    first, second = Classifier.from_pretrained(tiny_repository)(photographs / "red.png", 2)
    assert (
        result.stdout
        == f"{photographs / 'red.png'}: {first.label} {first.probability:.1%}, {second.label} {second.probability:.1%}\n"
    )


def test_json_is_one_object_a_line_and_a_bad_file_does_not_stop_the_others(photographs, tiny_repository):
    files = [
        photographs / "red.png",
        photographs / "notes.txt",
        photographs / "none.png",
        photographs / "blue.jpg",
    ]
    result = classify(*files, "--model", tiny_repository, "--json", "--precision", "float32")
    assert result.returncode == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(file) for file in files]
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    for line, file in ((lines[0], files[0]), (lines[3], files[3])):
        assert line["predictions"] == [
            {"label": label, "probability": pytest.approx(probability, abs=1e-6)}
            for label, probability in classifier(file)
        ]
    assert set(lines[1]) == set(lines[2]) == {"file", "error"}
    assert result.stderr == "python -m resnext: 2 of 4 files could not be classified.\n"


def test_images_are_seen_at_the_test_size_when_asked_for(photographs, tiny_repository):
    config = json.loads((tiny_repository / "config.json").read_text())
    config["pretrained_cfg"] |= {"test_input_size": [3, 96, 96], "test_crop_pct": 1.0}
    (tiny_repository / "config.json").write_text(json.dumps(config))
    line = json.loads(
        classify(
            photographs / "blue.jpg",
            "--model",
            tiny_repository,
            "--json",
            "--test-size",
            "--precision",
            "float32",
        ).stdout
    )
    expected = Classifier.from_pretrained(tiny_repository, test_size=True, precision="float32")(
        photographs / "blue.jpg"
    )
    smaller = Classifier.from_pretrained(tiny_repository, precision="float32")(photographs / "blue.jpg")
    assert line["predictions"][-1]["probability"] == pytest.approx(expected[-1].probability, rel=1e-3, abs=0)
    assert smaller[-1].probability != pytest.approx(expected[-1].probability, rel=1e-2, abs=0)


def test_the_bundled_flowers_are_used_when_no_model_is_named():
    examples = sorted((ROOT / "resnext" / "flowers" / "examples").glob("*.jpg"))
    result = classify(*examples, "--json")
    assert result.returncode == 0
    assert len(examples) == 5
    for file, line in zip(examples, result.stdout.splitlines()):
        assert json.loads(line)["predictions"][0]["label"] in file.name


def test_classifying_imports_neither_tensorflow_nor_keras_nor_torch(photographs, tiny_repository):
    code = (
        "import sys\nfrom resnext import Classifier\n"
        f"Classifier.from_pretrained({str(tiny_repository)!r})({str(photographs / 'red.png')!r})\n"
        "print(sorted({'tensorflow', 'keras', 'torch', 'jax', 'gradio', 'matplotlib', 'huggingface_hub'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize(
    "arguments, status, words",
    [
        ((), 2, "Missing argument"),
        (("x.png", "--top-k", 0), 2, "top-k"),
        (("x.png", "--frobnicate"), 2, "No such option"),
        (("x.png", "--model", "/nowhere/at/all"), 1, "neither a folder nor a Hub repository"),
        (
            ("x.png", "--model", "nobody/no-such-model"),
            1,
            "cannot be reached and nobody/no-such-model was never downloaded",
        ),
        (("x.png", "--precision", "int1"), 2, "'int1' is not one of 'auto'"),
        (("x.png", "--runtime", "onnx"), 2, "'onnx' is not one of 'auto'"),
    ],
)
def test_wrong_usage_has_status_2_and_other_errors_one_line(tiny_repository, arguments, status, words):
    model = () if "--model" in arguments else ("--model", tiny_repository)
    result = classify(*arguments, *model, HF_HUB_OFFLINE="1")
    assert result.returncode == status
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    if status == 1:
        assert len(result.stderr.splitlines()) == 1


def test_the_bundled_model_has_no_revisions():
    result = classify("x.png", "--revision", "v1")
    assert (result.returncode, result.stderr) == (
        1,
        "python -m resnext: The bundled model has no revisions: name a Hub repository, or leave the revision 'v1' out.\n",
    )


def test_a_class_name_cannot_command_the_terminal(photographs, tiny_repository):
    config = json.loads((tiny_repository / "config.json").read_text())
    config["label_names"] = [
        f"\x1b]0;owned\x07\x1b[2J{name}\nphoto: cat 100%" for name in config["label_names"]
    ]
    (tiny_repository / "config.json").write_text(json.dumps(config))
    result = classify(photographs / "red.png", "--model", tiny_repository)
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.rstrip("\n").isprintable()
    assert "\N{REPLACEMENT CHARACTER}]0;owned" in result.stdout


def test_help_names_every_option():
    result = classify("--help")
    assert result.returncode == 0
    for option in ("--model", "--revision", "--top-k", "--precision", "--json"):
        assert option in result.stdout


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import resnext

    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        resnext.Clasifier


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_names_beyond_the_terminal_s_encoding_are_answered(photographs, tiny_repository, encoding):
    strange = pathlib.Path(os.fsdecode(os.fsencode(photographs) + b"/caf\xe9.png"))
    (photographs / "red.png").rename(strange)
    for options in ((), ("--json",)):
        result = classify(strange, "--model", tiny_repository, *options, PYTHONIOENCODING=encoding)
        assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["file"] == str(strange)
