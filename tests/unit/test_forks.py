"""Forks that stand for new processes of Python: they see, print and end as those do."""

import os
import signal
import subprocess
import sys

import pytest

from tests.helpers.forks import hub_python
from tests.helpers.hub_client import until

PROGRAMS = {
    "surroundings": "import os, sys; print(sys.argv, os.getcwd(), os.environ['WORD'], sys.stdin.read())",
    "message": "import sys; sys.exit('a message')",
    "status": "import sys; sys.exit(7)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "atexit": "import atexit; atexit.register(print, 'at the end')",
    "client of the Hub": "import sys; print('huggingface_hub' in sys.modules)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_fork_does_what_a_new_process_does(name, tmp_path):
    def run(python):
        result = subprocess.run(
            [*python, "-c", PROGRAMS[name], "a", "b"],
            cwd=tmp_path,
            env=os.environ | {"WORD": "x"},
            input="given",
            capture_output=True,
            text=True,
            timeout=60,
        )
        return result.returncode, result.stdout, result.stderr

    assert run(hub_python()) == run([sys.executable])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_program(number):
    program = "import os, time; print(os.getpid())\nwhile True: time.sleep(0.1)"
    command = [*hub_python(), "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        inner = process.stdout.readline().strip()
        process.send_signal(number)
        assert process.wait(60) == -number
    until(lambda: not os.path.exists(f"/proc/{inner}"))
