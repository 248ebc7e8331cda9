"""Two worker processes on the loopback interface, as two hosts."""

import json
import os
import socket
import subprocess

import pytest

from tests.helpers.forks import training_python
from tests.helpers.paths import ROOT
from tests.helpers.training import run_training
from tests.training.helpers import TOLERANCE, losses


def command(data, base, output):
    """The arguments of a run of the command line."""
    settings = {"epochs": 2, "batch-size": 12, "image-size": 64, "learning-rate": 1e-3, "warmup-epochs": 1}
    settings |= {"mixup": 0, "cutmix": 0, "layer-decay": 1, "crop-pct": 0.9, "probe-passes": 0}
    arguments = [str(part) for name, value in settings.items() for part in (f"--{name}", value)]
    return [
        "fit",
        str(data),
        "--output",
        str(output),
        "--pretrained",
        str(base.folder),
        "--no-pictures",
        *arguments,
    ]


def worker(index, ports, arguments):
    """Starts one of the worker processes of a run."""
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    return subprocess.Popen(
        [*training_python(), "-m", "training", *arguments],
        cwd=ROOT,
        env=os.environ | {"TF_CONFIG": config},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_ports(count):
    """Ports of the loopback interface that nothing listens on."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@pytest.mark.slow
def test_two_workers_one_killed_and_resumed_learn_what_one_learns(photographs, base, tmp_path):
    alone = run_training(*command(photographs, base, tmp_path / "alone"))
    assert (alone.returncode, alone.stderr) == (0, "")
    output = tmp_path / "both"
    ports = free_ports(2)
    arguments = command(photographs, base, output)
    both = [worker(index, ports, arguments) for index in range(2)]
    for line in both[0].stdout:
        if line.startswith("epoch 1/2"):
            both[1].kill()
            break
    message = both[0].communicate()[1]
    both[1].communicate()
    assert both[0].returncode == 1
    assert "Another worker of TF_CONFIG has stopped" in message.splitlines()[-1]
    assert "Traceback" not in message
    ports = free_ports(2)
    both = [worker(index, ports, [*arguments, "--resume"]) for index in range(2)]
    results = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert results[1][0] == "", "the first worker tells"
    assert "with 2 hosts" in results[0][0]
    assert losses(output) == pytest.approx(losses(tmp_path / "alone"), abs=TOLERANCE)
