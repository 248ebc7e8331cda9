"""What a terminal shows of a run, and what is logged elsewhere."""

import os
import subprocess
import sys

import keras
import pytest

from resnext.errors import ConfigError
from tests.helpers.forks import training_python
from tests.helpers.paths import ROOT
from training.progress import ProgressBar, shown


@pytest.mark.slow
def test_a_terminal_shows_images_a_second_and_the_loss(photographs, base, tmp_path):
    terminal, stderr = os.openpty()
    command = [*training_python(), "-m", "training", "fit", photographs, "--output", tmp_path / "out"]
    options = ["--pretrained", base.folder, "--epochs", 1, "--batch-size", 4]
    process = subprocess.Popen(
        list(map(str, command + options)), cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    os.close(stderr)
    seen = b""
    try:
        while part := os.read(terminal, 1 << 16):
            seen += part
    except OSError:  # the process has closed the terminal
        pass
    os.close(terminal)
    lines = process.communicate()[0].splitlines()
    assert process.returncode == 0, seen
    assert b"images/s  loss" in seen
    assert sum(line.startswith("epoch ") for line in lines) == 1, "the bar is not in the output"


def test_elsewhere_nothing_but_a_line_an_epoch_is_shown(tmp_path):
    with shown(tmp_path, ()) as callbacks:
        assert callbacks == []


def test_the_bar_is_removed_if_the_run_fails(monkeypatch, tmp_path):
    def fail(bar):
        bar.set_params({"steps": 4})
        bar.on_epoch_begin(0)
        assert bar.bar.live.is_started
        bars.append(bar)
        raise ValueError("fails")

    bars = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(ValueError, match="fails"), shown(tmp_path, ()) as (bar,):
        fail(bar)
    assert not bars[0].bar.live.is_started


def test_a_report_needs_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("tensorboard", "trackio"):
        words = rf"{name}, which is not installed: .*\[{name}\]"
        with pytest.raises(ConfigError, match=words), shown(tmp_path, [name]):
            pass


def test_tensorboard_logs_into_the_output_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("training.progress.require", lambda *names: None)
    with shown(tmp_path, ["tensorboard"]) as (callback,):
        assert isinstance(callback, keras.callbacks.TensorBoard)
        assert callback.log_dir == str(tmp_path / "logs")
    assert not isinstance(callback, ProgressBar)
