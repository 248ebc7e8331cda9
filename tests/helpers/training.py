"""A short training: its recipe, and the command line that runs it."""

import subprocess
import sys

from tests.helpers.paths import ROOT
from training.recipe import Recipe

RECIPE = Recipe(epochs=2, batch_size=8, image_size=32, train_size=32, warmup_epochs=1, precision="float32")


def run_training(*arguments, **options) -> subprocess.CompletedProcess:
    """Runs `python -m training ARGUMENTS...` and returns the finished process with its output as text."""
    command = [sys.executable, "-m", "training", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, **options)
