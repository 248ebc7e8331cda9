"""`fit --dry-run`: what a run would do and how long it would take, from ten real steps."""

import pathlib
import tempfile
import time
from collections.abc import Callable

import keras
import numpy as np

from resnext.config import ModelConfig
from resnext.repository import Repository

from .data import ImageFolders
from .devices import describe_devices, find_strategy
from .fit import Training, explained, resolve
from .probe import compute_features, open_at
from .recipe import Recipe
from .run_folder import RunFolder

_WARMUP_STEPS = 2  # the first ones trace the network
_TIMED_STEPS = 10
_TIMED_IMAGES = 32  # whose features are computed


def show_plan(
    data: ImageFolders,
    output: pathlib.Path,
    recipe: Recipe,
    *,
    pretrained: Repository | None = None,
    report: Callable[[str], object] = print,
) -> None:
    """Draws the first batch, trains ten steps that are forgotten, and prints the plan of a run.

    Args:
        data: The data set.
        output: The output folder of the run, which gets figures/batch.png and nothing else.
        recipe: The recipe.
        pretrained: The network that training would start from.
        report: Called with each line.
    """
    recipe, config = resolve(data, recipe, pretrained)
    report(f"Images: {', '.join(f'{len(split)} {name}' for name, split in data.splits.items())}.")
    if recipe.probe_passes:
        _time_probe(data, recipe, pretrained, config, report)
    if recipe.epochs:
        _time_steps(data, output, recipe, config, report)
    report("Nothing was trained or kept.")


def _time_probe(
    data: ImageFolders,
    recipe: Recipe,
    pretrained: Repository,
    config: ModelConfig,
    report: Callable[[str], object],
) -> None:
    """Computes the features of a few images, and says how long those of all take."""
    split = data.splits["train"]
    classifier = open_at(pretrained, config)
    some = split.select(np.arange(len(split)) < _TIMED_IMAGES)
    compute_features(classifier, some)  # the first time includes the compilation for throughput
    began = time.monotonic()
    compute_features(classifier, some, mirrored=recipe.flip)
    per_image = (time.monotonic() - began) / len(some)
    count = len(split) + len(data.splits["val"]) / (1 + recipe.flip)
    report(f"A linear probe on features of {pretrained.name}: about {per_image * count:.0f} s.")


def _time_steps(
    data: ImageFolders,
    output: pathlib.Path,
    recipe: Recipe,
    config: ModelConfig,
    report: Callable[[str], object],
) -> None:
    """Draws the first batch, trains ten steps, and says how long all take."""
    strategy = find_strategy()
    report(describe_devices(strategy, recipe.precision))
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(pathlib.Path(folder))
        training = Training(data, run, recipe, config, strategy, report)
        training.draw_batch(output / "figures" / "batch.png")
        timer = StepTimer()
        model = training.make_model()
        batches = training.training_batches(0, 0)
        training.caches = [batches.images]
        with explained(training):
            model.fit(
                batches.dataset,
                steps_per_epoch=min(_WARMUP_STEPS + _TIMED_STEPS, training.steps * recipe.epochs),
                callbacks=[timer],
                shuffle=False,
                verbose=0,
            )
    seconds = timer.seconds_per_step * training.steps
    report(
        f"{recipe.model}, {recipe.epochs} epochs of {training.steps} steps with {recipe.batch_size} images "
        f"of {recipe.train_size} x {recipe.train_size} pixels."
    )
    report(
        f"About {seconds:.0f} s an epoch without validation "
        f"({recipe.batch_size / timer.seconds_per_step:.0f} images a second), "
        f"{seconds * recipe.epochs / 60:.0f} min in total."
    )
    report(f"The first batch is drawn in {output / 'figures' / 'batch.png'}.")


class StepTimer(keras.callbacks.Callback):
    """Measures the seconds of a training step, the first ones left out."""

    def __init__(self):
        super().__init__()
        self.times: list[float] = []

    def on_train_begin(self, logs=None):
        self.times = [time.monotonic()]

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for the step
        self.times.append(time.monotonic())

    @property
    def seconds_per_step(self) -> float:
        # Of a run of few steps, at least the last one counts.
        times = self.times[min(_WARMUP_STEPS, len(self.times) - 2) :]
        return (times[-1] - times[0]) / (len(times) - 1)
