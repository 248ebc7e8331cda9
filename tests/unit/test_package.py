"""What the package declares in pyproject.toml: dependencies, files, version and public names."""

import ast
import email.message
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import resnext
from resnext.command import _EXTRAS
from training import space

ROOT = pathlib.Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
OUR_PACKAGES = {"resnext", "training"}
# Distributions whose module has another name.
MODULES = {"markdown-it-py": "markdown_it", "pillow": "PIL", "pyyaml": "yaml"}
# Files of resnext/ that only somebody who trains or runs Keras imports.
KERAS_FILES = {
    "batch_norm.py",
    "global_average.py",
    "grouped_conv.py",
    "keras_backend.py",
    "keras_model.py",
    "pretrained.py",
    "runtimes.py",
}

# Files of resnext/ that draw, which is done where the extra for training is installed.
FIGURE_FILES = {"fonts.py", "plots.py"}


def name_of(requirement):
    """The distribution of a requirement such as "typer>=0.26"."""
    return re.match(r"[\w.-]+", requirement)[0]


def modules_of(requirements):
    """The modules that requirements install, as far as this project imports them."""
    names = map(name_of, requirements)
    return {MODULES.get(name, name.replace("-", "_")) for name in names}


def imports(file):
    """The top-level modules from outside that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    modules = {name.partition(".")[0] for name in found}
    return modules - set(sys.stdlib_module_names) - OUR_PACKAGES


BASE = modules_of(PROJECT["dependencies"])
PAGE = BASE | modules_of(EXTRAS["page"])
TRAIN = BASE | modules_of(EXTRAS["train"] + EXTRAS["quantize"])


def allowed_imports(file):
    """The modules that a file may import: those of the base and of the extra that it belongs to."""
    folder = file.relative_to(ROOT).parts
    if folder[0] == "training" or file.name in (*KERAS_FILES, "command.py"):
        return TRAIN | modules_of(EXTRAS["trackio"])
    if file.name in FIGURE_FILES:
        return TRAIN
    if file.name == "readme.py":  # of model cards, which the page and training write
        return PAGE & TRAIN
    return PAGE if "page" in folder or file.name == "teach.py" else BASE


def shipped_python():
    return sorted([*(ROOT / "resnext").rglob("*.py"), *(ROOT / "training").rglob("*.py")])


@pytest.mark.parametrize("file", shipped_python(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_import_is_declared_for_those_who_need_it(file):
    assert imports(file) <= allowed_imports(file)


def test_nothing_is_declared_that_is_not_imported():
    imported = set().union(*map(imports, shipped_python()))
    assert imported >= BASE | PAGE | TRAIN


def test_requirements_txt_lists_base_page_and_train():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert lines == sorted(lines)
    assert sorted(lines) == sorted({*PROJECT["dependencies"], *EXTRAS["page"], *EXTRAS["train"]})


def test_the_extra_all_is_all_the_other_extras():
    assert EXTRAS["all"] == [f"resnext[{','.join(name for name in EXTRAS if name != 'all')}]"]


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"all"}))
def test_commands_know_which_extra_has_a_module(extra):
    assert modules_of(EXTRAS[extra]) <= set(_EXTRAS)


def test_the_version_is_written_once():
    assert "version" in PROJECT["dynamic"]
    assert SETUPTOOLS["dynamic"]["version"] == {"attr": "resnext.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", resnext.__version__)


def test_the_space_runs_the_gradio_that_the_page_requires():
    version = re.search(r"^sdk_version: (.+)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)[1]
    assert f"gradio~={version.rpartition('.')[0]}" in EXTRAS["page"]


def test_all_modules_are_installed_below_resnext():
    folders = {file.parent.relative_to(ROOT).as_posix() for file in shipped_python()}
    assert SETUPTOOLS["package-dir"] == {"resnext.training": "training"}
    installed = {
        SETUPTOOLS["package-dir"].get(name, name.replace(".", "/")) for name in SETUPTOOLS["packages"]
    }
    assert installed == folders
    assert {name.partition(".")[0] for name in SETUPTOOLS["packages"]} == {"resnext"}


def test_every_data_file_is_installed():
    listed = set()
    for package, patterns in SETUPTOOLS["package-data"].items():
        folder = ROOT / package.replace(".", "/")
        listed |= {file for pattern in patterns for file in folder.glob(pattern)}
    files = {
        file
        for file in (ROOT / "resnext").rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert files - listed == {ROOT / "resnext" / "page" / "README.md"}


def test_all_public_names_are_there():
    for name in resnext.__all__:
        assert getattr(resnext, name) is not None
        assert name in dir(resnext)


def test_importing_the_package_imports_no_dependency():
    dependencies = {"numpy", "openvino", "keras", "tensorflow", "PIL"}
    code = f"import resnext, sys; print(sorted({dependencies} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("name", ["build_model", "from_pretrained", "save_pretrained"])
def test_a_name_that_needs_keras_says_how_to_install_it(name):
    program = f"""
import sys
sys.modules["keras"] = None
import resnext
try:
    resnext.{name}
except resnext.ResNeXtError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stdout == "This needs Keras, which is not installed: pip install 'resnext[train]'\n"


def test_the_app_of_a_space_is_app_py():
    assert (ROOT / "app.py").read_text("utf-8") == space._SPACE_APP


@pytest.mark.parametrize("extra", ["page", "train"])
def test_an_installed_package_knows_its_requirements_as_a_checkout_does(extra, monkeypatch, tmp_path):
    checkout = space.requirements_and_readme(extra)
    metadata = email.message.Message()
    for line in PROJECT["dependencies"]:
        metadata["Requires-Dist"] = line
    for name, lines in EXTRAS.items():
        for line in lines:
            metadata["Requires-Dist"] = f'{line}; extra == "{name}"'
    metadata["Description"] = (ROOT / "README.md").read_text("utf-8")
    monkeypatch.setattr(space, "_PACKAGE", tmp_path / "site-packages" / "resnext")
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: metadata)
    assert space.requirements_and_readme(extra) == checkout
