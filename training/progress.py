"""Progress within an epoch on a terminal, and logs for TensorBoard and trackio."""

import contextlib
import pathlib
import sys
from collections.abc import Iterable, Iterator

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from resnext.command import require


@contextlib.contextmanager
def shown(output: pathlib.Path, reports: Iterable[str]) -> Iterator[list[keras.callbacks.Callback]]:
    """Yields the callbacks that show a run.

    Args:
        output: The output folder of the run.
        reports: Any of "tensorboard" and "trackio".

    Raises:
        ConfigError: A package that it needs is not installed.
    """
    callbacks: list[keras.callbacks.Callback] = []
    bar = ProgressBar()
    if sys.stderr.isatty():
        callbacks.append(bar)
    for name in reports:
        require(name, name)
    if "tensorboard" in reports:
        callbacks.append(keras.callbacks.TensorBoard(output / "logs", write_graph=False))
    if "trackio" in reports:
        callbacks.append(TrackioLogger(output.resolve().name))
    try:
        yield callbacks
    finally:
        bar.stop()


class ProgressBar(keras.callbacks.Callback):
    """A bar with images a second, loss and time left on standard error, which is gone after each epoch."""

    def __init__(self):
        super().__init__()
        self.bar: Progress | None = None

    def stop(self) -> None:
        """Removes the bar, also if the run ends with an error."""
        if self.bar:
            self.bar.stop()

    def on_epoch_begin(self, epoch, logs=None):
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:.0f} images/s  loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        steps = self.params["steps"]
        self.task = self.bar.add_task("", total=steps, epoch=epoch + 1, rate=0.0, loss=float("nan"))
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        speed = self.bar.tasks[0].speed or 0.0
        rate = speed * self.model.recipe.batch_size
        self.bar.update(self.task, advance=1, rate=rate, loss=float(logs["loss"]))

    def on_test_begin(self, logs=None):
        self.stop()


class TrackioLogger(keras.callbacks.Callback):
    """Logs the metrics of each epoch to trackio.

    Args:
        name: The name of the run.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def on_train_begin(self, logs=None):
        import trackio

        trackio.init(project="resnext", name=self.name, resume="allow")

    def on_epoch_end(self, epoch, logs=None):
        import trackio

        trackio.log({key: float(value) for key, value in logs.items()}, step=epoch + 1)

    def on_train_end(self, logs=None):
        import trackio

        trackio.finish()
