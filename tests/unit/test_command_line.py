"""The `resnext` command: what it prints, its exit statuses, and what it says when an extra is missing."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import typing

import pytest
from PIL import Image

from resnext import __version__
from resnext.classifier import Classifier
from resnext.command import _EXTRAS
from resnext.errors import ConfigError
from tests.helpers.forks import hub_python

ROOT = pathlib.Path(__file__).parents[2]


def classify(*arguments, **environment):
    # Python itself reads PYTHONIOENCODING when it starts.
    python = [sys.executable] if "PYTHONIOENCODING" in environment else hub_python()
    command = [*python, "-m", "resnext", "classify", *map(str, arguments)]
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
    for name, color in (("red.png", "red"), ("blue.jpg", "blue")):
        Image.new("RGB", (80, 60), color).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def test_text_names_the_classes_with_percentages(photographs, tiny_repository):
    result = classify(photographs / "red.png", "--model", tiny_repository, "--top-k", 2)
    assert result.returncode == 0
    assert result.stderr == ""
    first, second = Classifier.from_pretrained(tiny_repository)(photographs / "red.png", 2)
    named = f"{first.label} {first.probability:.1%}, {second.label} {second.probability:.1%}"
    assert result.stdout == f"{photographs / 'red.png'}: {named}\n"


def test_json_is_one_object_per_line_and_a_bad_file_stops_nothing(photographs, tiny_repository):
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


def test_the_test_size_is_used_when_asked_for(photographs, tiny_repository):
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


def test_classifying_imports_no_framework(photographs, tiny_repository):
    heavy = {"tensorflow", "keras", "torch", "jax", "gradio", "matplotlib", "huggingface_hub"}
    code = (
        "import sys\nfrom resnext import Classifier\n"
        f"Classifier.from_pretrained({str(tiny_repository)!r})({str(photographs / 'red.png')!r})\n"
        f"print(sorted({heavy} & set(sys.modules)))"
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
            "HF_HUB_OFFLINE is set, so nobody/no-such-model could not be downloaded",
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
    assert result.returncode == 1
    assert result.stderr.startswith("python -m resnext: The bundled model flowers has no revisions")
    assert len(result.stderr.splitlines()) == 1


def test_a_class_name_cannot_control_the_terminal(photographs, tiny_repository):
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


def test_an_unknown_name_in_the_package_is_an_attribute_error():
    import resnext

    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        _ = resnext.Clasifier


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_file_names_that_the_terminal_cannot_print_are_classified(photographs, tiny_repository, encoding):
    strange = pathlib.Path(os.fsdecode(os.fsencode(photographs) + b"/caf\xe9.png"))
    (photographs / "red.png").rename(strange)
    for options in ((), ("--json",)):
        result = classify(strange, "--model", tiny_repository, *options, PYTHONIOENCODING=encoding)
        assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["file"] == str(strange)


COMMANDS = ("classify", "download", "fit", "evaluate", "quantize", "push", "summary", "space", "app")


def run_resnext(*arguments, missing=(), cwd=ROOT):
    """Runs the `resnext` command where some packages are not installed."""
    code = (
        "import sys\n"
        f"sys.path.append({str(ROOT)!r})\n"
        f"sys.modules.update(dict.fromkeys({list(missing)}))\n"
        "from resnext.cli import main\n"
        "main()"
    )
    return subprocess.run(
        [*hub_python(), "-c", code, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_has_all_commands():
    result = run_resnext("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


def test_the_command_shows_the_version_of_the_package():
    result = run_resnext("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.slow
def test_no_command_needs_an_extra_to_show_its_help():
    missing = ("gradio", "tensorflow", "keras", "matplotlib", "nncf")
    for command in COMMANDS:
        result = run_resnext(command, "--help", missing=missing)
        assert result.returncode == 0, result.stderr
        assert f"resnext {command}" in result.stdout


@pytest.fixture
def photograph_folders(tmp_path):
    """A folder of two classes, ant and bee, in train, val and test."""
    for split in ("train", "val", "test"):
        for color, name in (("red", "ant"), ("blue", "bee")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            Image.new("RGB", (40, 40), color).save(tmp_path / "photos" / split / name / f"{split}.png")
    return tmp_path / "photos"


@pytest.mark.slow
@pytest.mark.parametrize(
    "module, extra, arguments",
    [
        ("gradio", "page", ("app",)),
        ("markdown_it", "page", ("app",)),
        ("tensorflow", "train", ("fit", "photos", "--output", "new")),
        ("keras", "train", ("fit", "photos", "--output", "new")),
        ("matplotlib", "train", ("fit", "photos", "--output", "new")),
        ("matplotlib", "train", ("evaluate", "photos", "--model", "tiny")),
        ("nncf", "quantize", ("quantize", "tiny", "--calibration", "photos")),
    ],
)
def test_a_missing_extra_is_one_line_with_the_pip_command(
    tiny_repository, photograph_folders, module, extra, arguments
):
    result = run_resnext(*arguments, missing=[module], cwd=tiny_repository.parent)
    assert result.returncode == 1
    assert result.stderr.startswith("resnext: ")
    assert len(result.stderr.splitlines()) == 1
    assert f"{module}, which is not installed" in result.stderr.lower()
    assert f"pip install '.[{extra}]'" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "extra, arguments", [("page", ("app",)), ("train", ("fit", "photos", "--output", "new"))]
)
def test_a_command_without_any_package_of_its_extra_is_one_line(
    tiny_repository, photograph_folders, extra, arguments
):
    missing = [module for module, its_extra in _EXTRAS.items() if its_extra == extra]
    result = run_resnext(*arguments, missing=missing, cwd=tiny_repository.parent)
    assert result.returncode == 1
    assert re.fullmatch(
        rf"resnext: This command needs ({'|'.join(missing)}), which is not installed: "
        rf"pip install '\.\[{extra}\]'\n",
        result.stderr,
    )


def test_quantize_without_extras_names_one_that_is_enough(tiny_repository, photograph_folders):
    arguments = ("quantize", "tiny", "--calibration", "photos")
    result = run_resnext(*arguments, missing=["matplotlib", "nncf"], cwd=tiny_repository.parent)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "pip install '.[quantize]'" in result.stderr


def test_require_names_the_installed_package_outside_a_checkout(monkeypatch, tmp_path):
    from resnext import command

    command.require("json", "page")
    monkeypatch.setattr(command, "__file__", str(tmp_path / "resnext" / "command.py"))
    with pytest.raises(ConfigError, match=r"needs no_such_module.*: pip install 'resnext\[page\]'"):
        command.require("no_such_module", "page")


def test_another_missing_module_is_a_defect_and_keeps_its_traceback():
    result = run_resnext("classify", "x.png", missing=["resnext.stream"])
    assert "Traceback" in result.stderr


class Signalled(typing.NamedTuple):
    status: int
    errors: str


def signal_to(number, body, *, ignored=False):
    """Runs a command line that sends itself a signal."""
    code = f"""
import os, signal, time, typer
from resnext.command import run
app = typer.Typer()
@app.command()
def main():
    {body}
run(app, "prog")
"""
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL  # whatever started the tests may ignore SIGINT
    result = subprocess.run(
        [sys.executable, "-c", code.replace("NUMBER", str(int(number)))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(number, handler),
    )
    return Signalled(result.returncode, result.stderr)


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_quietly_with_its_status(number, status):
    body = "os.kill(os.getpid(), NUMBER); time.sleep(30)"
    assert signal_to(number, body) == (status, "")


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_returns_after_a_signal_has_the_signal_s_status(number, status):
    body = """
    try:
        os.kill(os.getpid(), NUMBER); time.sleep(30)
    except KeyboardInterrupt:  # as Gradio does
        pass"""
    assert signal_to(number, body) == (status, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_at_once(number):
    body = """
    try:
        os.kill(os.getpid(), NUMBER)
    finally:
        os.kill(os.getpid(), NUMBER); time.sleep(30)"""
    assert signal_to(number, body) == (-number, "")


def test_an_ignored_signal_stays_ignored():
    assert signal_to(signal.SIGINT, "os.kill(os.getpid(), NUMBER)", ignored=True) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "reason"), [("jax", "needs TensorFlow"), ("nonsense", "KERAS_BACKEND")])
def test_another_keras_backend_ends_in_one_line(photographs, backend, reason):
    result = classify("--runtime", "keras", photographs, KERAS_BACKEND=backend)
    assert result.returncode == 1
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
