"""A short training: its recipe, and the command line that runs it."""

import contextlib
import io
import subprocess
import sys
from unittest import mock

from tests.helpers.forks import training_python
from tests.helpers.paths import ROOT
from training.recipe import Recipe

RECIPE = Recipe(
    epochs=2,
    batch_size=8,
    image_size=32,
    train_size=32,
    warmup_epochs=1,
    precision="float32",
    detect_unknown=False,
)


def run_training(*arguments, python: list[str] | None = None, **options) -> subprocess.CompletedProcess:
    """Runs `python -m training ARGUMENTS...` and returns what it printed and its exit status.

    Args:
        arguments: The arguments of the command line.
        python: What starts Python, if the command has to start as a user starts it.
        options: Options of `subprocess.run`, such as `env`. Without any, the command runs in this process,
            where TensorFlow is imported already, which saves seconds; with some, in a fork of one.
    """
    arguments = [str(argument) for argument in arguments]
    if python or options:
        command = [*(python or training_python()), "-m", "training", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, **options)
    from resnext.command import run
    from training.cli import app

    output, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(ROOT),
        mock.patch.object(sys, "argv", ["python -m training", *arguments]),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        try:
            run(app, "python -m training")
            status = 0
        except SystemExit as end:  # as Python itself ends: a text is an error message
            if isinstance(end.code, str):
                print(end.code, file=errors)
            status = 1 if isinstance(end.code, str) else end.code or 0
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())
