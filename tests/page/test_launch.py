"""The page's command line: its options, its errors, and what it imports."""

import importlib.util
import os
import pathlib
import socket
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from resnext.page import launch
from tests.helpers.pages import free_port
from tests.helpers.paths import ROOT


@pytest.mark.slow
def test_the_page_never_imports_tensorflow(repository):
    program = (
        "import sys, app\n"
        "from resnext.page.layout import build_page\n"
        "from resnext.page.upkeep import open_models\n"
        "build_page(open_models(sys.argv[1]))\n"
        "print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", program, str(repository)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in modules.stdout.split()}
    assert "openvino" in loaded
    assert not loaded & {"tensorflow", "keras", "torch", "matplotlib"}


def test_pandas_is_imported_when_it_is_used():
    program = (
        "import sys, threading\n"
        "from resnext.page.lazy_import import import_when_used\n"
        "import_when_used('pandas')\n"
        "import gradio, pandas\n"
        "print('pandas.core' in sys.modules)\n"
        "frames = []\n"
        "def make(): frames.append(pandas.DataFrame({'a': [1, 2]}))\n"
        "threads = [threading.Thread(target=make) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print([len(frame) for frame in frames], hasattr(pandas, 'no such name'))\n"
        "import_when_used('pandas')\n"
        "import pandas.io.formats.style\n"
        "print(pandas.io.formats.style.Styler.__name__, gradio.caching.pd is pandas)"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.splitlines() == ["False", "[2, 2, 2, 2] False", "Styler True"], result.stderr


@pytest.mark.parametrize("arguments", [("--port", "many"), ("--watch", "README.md")])
def test_wrong_usage_exits_with_status_2(arguments):
    result = subprocess.run([sys.executable, "app.py", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_port_in_use_exits_with_status_1_and_one_line(repository):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = [
            sys.executable,
            "app.py",
            "--model",
            str(repository),
            "--port",
            str(taken.getsockname()[1]),
        ]
        result = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert f"Port {arguments[-1]} is in use by another program: choose another --port" in line


def test_the_command_line_is_importable_without_gradio():
    program = "import sys, resnext.page.launch; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(modules.stdout.split()) & {"gradio", "pandas", "openvino", "numpy", "tensorflow"}


@pytest.fixture
def start(monkeypatch):
    """Runs the command line without serving; returns its result, and what would be served."""
    served = []
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(
        launch, "serve", lambda page, *place, **options: served.append((page, place, options))
    )

    def start(*arguments):
        app = typer.Typer()
        app.command()(launch.main)
        return CliRunner().invoke(app, [str(argument) for argument in arguments]), served

    return start


def test_host_and_port_are_passed_on_to_the_server(start, repository):
    port = free_port()
    result, served = start("--model", repository, "--host", "0.0.0.0", "--port", port)
    assert result.exit_code == 0
    ((page, place, options),) = served
    assert page.title == "flowers · ResNeXt"
    assert place == ("0.0.0.0", port)
    assert options == {"mcp_server": None}


def test_what_gradio_can_do_is_passed_on_to_it(start, repository):
    options = ("--root-path", "/resnext/", "--auth", "ant:six", "--auth", "bee:buzz", "--share")
    result, served = start("--model", repository, *options)
    assert result.exit_code == 0, result.output
    assert served[0][2] == {
        "mcp_server": None,
        "root_path": "/resnext",
        "auth": [("ant", "six"), ("bee", "buzz")],
        "share": True,
    }


@pytest.mark.parametrize(
    "options",
    [
        ("--root-path", "resnext"),
        ("--ssl-certfile", "cert.pem"),
        ("--ssl-keyfile", "key.pem"),
        ("--watch", "run", "--model", "flowers"),
        ("--port", "0"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(start, options):
    result, served = start(*options)
    assert result.exit_code == 2
    assert not served


@pytest.mark.parametrize(
    "options, variables",
    [
        (("--host", "192.0.2.1"), {}),
        ((), {"GRADIO_SERVER_NAME": "192.0.2.1"}),
        (("--auth", "secret"), {}),
        ((), {"GRADIO_TEMP_DIR": "/dev/null/uploads"}),
        (("--ssl-certfile", "gone.pem", "--ssl-keyfile", "gone.pem"), {}),
    ],
)
def test_a_fault_of_the_machine_exits_with_status_1_and_one_line(options, variables):
    result = subprocess.run(
        [sys.executable, "app.py", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("app.py: ")
    assert "secret" not in line


def test_gradio_reads_the_variables_that_switch_its_statistics_off():
    sources = pathlib.Path(importlib.util.find_spec("gradio").origin).parent.glob("*.py")
    text = "".join(file.read_text("utf-8") for file in sources)
    for name in launch._STATISTICS_OFF:
        assert f'"{name}"' in text, "Gradio was upgraded: look how it computes statistics now"


def test_a_model_that_cannot_be_opened_is_a_warning(start, tmp_path):
    result, served = start("--model", tmp_path)
    assert result.exit_code == 0
    assert "Until then, this page shows the bundled model." in result.stderr
    assert len(served) == 1


def test_mcp_without_its_package_is_wrong_usage(start, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result, served = start("--mcp")
    assert result.exit_code == 2
    assert "pip install" in result.stderr
    assert not served
