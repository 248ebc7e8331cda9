"""The four READMEs: their programs run, their commands parse, their links lead somewhere, they are short."""

import ast
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import typer.main

from resnext.cli import app
from tests.helpers.paths import ROOT

READMES = ("README.md", "resnext/page/README.md", "training/README.md", "tests/benchmarks/README.md")
COMMANDS = typer.main.get_command(app).commands
PREFIXES = (["resnext"], ["python", "-m", "resnext"], ["python", "-m", "training"])


def blocks(readme, language=""):
    """The code blocks of a README in a language; those without one are shell commands or their output."""
    text = (ROOT / readme).read_text("utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for label, block in found if label == language]


def command_of(line):
    """The arguments of a line that runs one of this project's commands, otherwise None."""
    words = shlex.split(line, comments=True)
    if words and words[0].startswith("RESNEXT_"):
        words = words[1:]
    if words[:2] == ["python", "app.py"]:
        return ["app", *words[2:]]
    for prefix in PREFIXES:
        if words[: len(prefix)] == prefix:
            return words[len(prefix) :]
    return None


def commands(readme):
    found = []
    for block in blocks(readme):
        for line in block.splitlines():
            found += filter(None, map(command_of, line.split(" && ")))
    return found


ALL_COMMANDS = [(readme, command) for readme in READMES for command in commands(readme)]


@pytest.mark.parametrize("readme, command", ALL_COMMANDS, ids=[" ".join(words) for _, words in ALL_COMMANDS])
def test_every_command_has_the_arguments_that_it_is_shown_with(readme, command):
    name, *arguments = command
    COMMANDS[name].make_context(name, arguments)  # raises on an unknown option or a missing argument


def test_the_readmes_show_every_command():
    assert {command[0] for _, command in ALL_COMMANDS} == set(COMMANDS)


@pytest.mark.parametrize("readme", READMES)
def test_every_link_within_the_project_leads_to_a_file(readme):
    text = (ROOT / readme).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    for link in links:
        path, _, anchor = link.partition("#")
        target = ROOT / readme if not path else (ROOT / readme).parent / path
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings], link


@pytest.mark.parametrize("readme", READMES)
def test_every_option_in_the_text_is_an_option_of_a_command(readme):
    text = (ROOT / readme).read_text("utf-8")
    options = {
        option
        for command in COMMANDS.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    # Options of the benchmarks' scripts.
    options |= {"--peer-python", "--without-certificates", "--output", "--toy", "--unseen"}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= options


def test_the_first_readme_stays_short():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 140


@pytest.mark.parametrize("readme", READMES)
def test_lines_of_text_have_at_most_140_characters(readme):
    text = re.sub(r"^```.*?^```$", "", (ROOT / readme).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert [line for line in text.splitlines() if len(line) > 140 and not line.startswith("|")] == []


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A working folder with photo.jpg, and a model in place of those on the Hub."""
    examples = ROOT / "resnext" / "flowers" / "examples"
    shutil.copy(examples / "tulips.jpg", tmp_path / "photo.jpg")
    shutil.copytree(ROOT / "tests" / "fixtures" / "timm" / "resnext", tmp_path / "timm-model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_program(program, names):
    """Runs a program with a local model in place of timm's, and returns the value of its last line."""
    *statements, last = ast.parse(re.sub(r'"timm/[\w.]+"', '"timm-model"', program)).body
    exec(compile(ast.Module(statements, []), "README.md", "exec"), names)
    return eval(ast.unparse(last), names)


def test_the_readme_s_three_lines_classify_a_photograph(at_home):
    program = next(block for block in blocks("README.md", "python") if "Classifier" in block)
    predictions = run_program(program, {})
    assert predictions[0].label == "tulips"
    assert len(predictions) == 3
    shown = float(re.search(r"probability=([\d.]+)", program)[1])
    assert predictions[0].probability == pytest.approx(shown, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("readme", ["README.md", "training/README.md"])
def test_the_keras_program_trains_and_saves_a_model_that_opens(at_home, readme):
    import numpy as np

    from resnext import Classifier

    program = next(block for block in blocks(readme, "python") if "save_pretrained" in block)
    images = np.zeros((2, 64, 64, 3), np.float32)
    run_program(program, {"images": images, "labels": np.array([0, 4])})
    labels = json.loads(re.search(r"label_names=(\[.*?\])", program)[1])
    assert list(Classifier.from_pretrained("my-model").config.label_names) == labels
    assert len(Classifier.from_pretrained("my-model")("photo.jpg")) == 5


def test_the_summary_in_the_readme_is_the_command_s():
    table = next(block for block in blocks("training/README.md") if block.startswith("stage"))
    result = subprocess.run(
        [sys.executable, "-m", "resnext", "summary", "resnext50_32x4d"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.stdout == table


def test_the_results_of_the_flowers_are_those_of_the_evaluation():
    flowers = ROOT / "resnext" / "flowers"
    top1 = json.loads((flowers / "evaluation.json").read_bytes())["top1"]
    int8 = json.loads((flowers / "quantization.json").read_bytes())["int8"]["top1"]
    for readme in ("README.md", "tests/benchmarks/README.md"):
        text = (ROOT / readme).read_text("utf-8")
        assert f"{top1:.2%}" in text
        assert f"{int8:.2%}" in text


@pytest.mark.parametrize("name", ["serve", "page", "train", "train_without_amx", "train_stock_keras"])
def test_tables_of_the_benchmarks_show_the_recorded_results(name):
    results = ROOT / "tests" / "benchmarks"
    numbers = set(re.findall(r"\b\d+\.\d+\b", pathlib.Path(results / "README.md").read_text("utf-8")))
    for line in (results / "results" / f"{name}.csv").read_text("utf-8").splitlines()[1:]:
        first = re.search(r",(\d+\.\d+)", line)[1]
        assert first in numbers, line


def test_the_slurm_script_gives_each_host_its_tf_config(tmp_path):
    (script,) = blocks("training/README.md", "bash")
    programs = {
        "scontrol": "printf 'node-1\\nnode-2\\n'",
        "srun": 'for rank in 0 1; do SLURM_PROCID=$rank "$@"; done',
        "resnext": 'echo "$TF_CONFIG"; echo "$*"',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "node-[1-2]"}

    def run():
        command = ["bash", "-c", script]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True
        ).stdout.splitlines()

    lines = run()
    cluster = {"worker": ["node-1:12345", "node-2:12345"]}
    for rank in (0, 1):
        expected = {"cluster": cluster, "task": {"type": "worker", "index": rank}}
        assert json.loads(lines[2 * rank]) == expected
        assert "--resume" not in lines[2 * rank + 1]
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "recipe.json").touch()
    assert run()[1].endswith("--batch-size 512 --resume")


def test_the_commands_and_the_python_of_the_notebook_are_valid():
    notebook = json.loads((ROOT / "training" / "notebook.ipynb").read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = [command_of(line[1:]) for cell in cells for line in cell.splitlines() if line.startswith("!")]
    found = list(filter(None, shown))
    assert [name for name, *_ in found] == ["fit", "fit", "push", "space"]
    for name, *arguments in found:
        COMMANDS[name].make_context(name, arguments)
    for cell in cells:  # without the lines of the shell
        compile("\n".join(line for line in cell.splitlines() if line[:1] not in "!%"), "cell", "exec")
