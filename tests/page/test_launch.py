"""The page's command line: its options, its errors, and what it imports."""

import socket
import subprocess
import sys

from tests.helpers.paths import ROOT


def test_the_page_never_imports_tensorflow(repository):
    program = (
        "import sys, app\n"
        "from resnext.page.layout import build_page\n"
        "from resnext.page.models import open_models\n"
        "build_page(open_models(sys.argv[1])[0])\n"
        "print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", program, str(repository)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in modules.stdout.split()}
    assert "openvino" in loaded
    assert not loaded & {"tensorflow", "keras", "torch", "matplotlib"}


def test_wrong_usage_exits_with_status_2(tmp_path):
    result = subprocess.run(
        [sys.executable, "app.py", "--port", "many"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


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
    assert len(result.stderr.strip().splitlines()) == 1
