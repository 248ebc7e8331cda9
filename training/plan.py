"""`fit --dry-run`: what a run would do and how long it would take, from ten real steps."""

import pathlib
import tempfile
import time
from collections.abc import Callable

import keras

from resnext.repository import Repository

from .data import ImageFolders
from .devices import describe_devices, find_strategy
from .fit import Training, resolve
from .recipe import Recipe
from .run_folder import RunFolder

_WARMUP_STEPS = 2  # the first ones trace the network
_TIMED_STEPS = 10


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
    strategy = find_strategy()
    report(describe_devices(strategy))
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(pathlib.Path(folder))
        training = Training(data, run, recipe, config, strategy, report)
        training.draw_batch(output / "figures" / "batch.png")
        timer = StepTimer()
        model = training.make_model()
        model.fit(
            training.training_batches(0, 0).dataset,
            steps_per_epoch=min(_WARMUP_STEPS + _TIMED_STEPS, training.steps * recipe.epochs),
            callbacks=[timer],
            shuffle=False,
            verbose=0,
        )
    seconds = timer.seconds_per_step * training.steps
    images = {name: len(split) for name, split in data.splits.items()}
    report(f"Images: {', '.join(f'{count} {name}' for name, count in images.items())}.")
    report(
        f"{recipe.model}, {recipe.epochs} epochs of {training.steps} steps with {recipe.batch_size} images "
        f"of {recipe.train_size} x {recipe.train_size} pixels."
    )
    report(
        f"About {seconds:.0f} s an epoch without validation "
        f"({recipe.batch_size / timer.seconds_per_step:.0f} images a second), "
        f"{seconds * recipe.epochs / 60:.0f} min in total."
    )
    report(f"The first batch is drawn in {output / 'figures' / 'batch.png'}. Nothing was trained or kept.")


class StepTimer(keras.callbacks.Callback):
    """Measures the seconds of a training step, the first ones left out."""

    def __init__(self):
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for the step
        self.times.append(time.monotonic())

    @property
    def seconds_per_step(self) -> float:
        times = self.times[_WARMUP_STEPS - 1 :] if len(self.times) > _WARMUP_STEPS else self.times
        return (times[-1] - times[0]) / max(1, len(times) - 1)
