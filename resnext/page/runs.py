"""The run that a page follows: how far the training in a folder has come, read from the files of `fit`.

The folder is the output folder of `fit` (`training/run_folder.py`), which need not exist yet. Nothing in it
is changed, and TensorFlow is not imported.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import time

import filelock

from resnext.errors import DataError
from resnext.page.i18n import translate
from resnext.results import EVALUATION, HISTORY, READ_ERRORS, read_history, read_text
from resnext.weights import weights_file

_MAX_BYTES = 2**20
# What the page shows of a run beside its weights.
_FILES = (HISTORY, "recipe.json", EVALUATION, "README.md")
_SENTENCES = {
    "waiting": "Waiting for a training in {folder}.",
    "training": "Training: {epoch} of {epochs} epochs.",
    "testing": "All epochs are trained: the network is being tested.",
    "interrupted": (
        "The training was interrupted after {epoch} of {epochs} epochs: the same command with --resume "
        "continues it."
    ),
    "untested": (
        "All epochs are trained, but the test was interrupted: the same command with --resume continues it."
    ),
    "finished": "The training is finished: {epoch} epochs.",
}


@dataclasses.dataclass(frozen=True)
class Status:
    """How far a run has come.

    Args:
        state: "waiting" for its start, "training", "testing", "interrupted" while it was trained, "untested"
            if it was interrupted after that, or "finished".
        epoch: The number of finished epochs.
        epochs: The number of epochs of its recipe; 0 if that is unknown.
        seconds_left: An estimate of the time until the last epoch ends; None if there is none.
    """

    state: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    seconds_left: float | None = None


class Run:
    """The output folder of a `fit` that a page follows.

    Args:
        folder: The folder.

    Attributes:
        status: How far the run had come at the last `look`.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.status = Status()

    def look(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Reads the status.

        Returns:
            The times of change of the files of the network, and of the others that the page shows. Each file
            is renamed into place, so it is complete.
        """
        network = _changed(self.folder / "config.json"), _changed(weights_file(self.folder))
        others = tuple(_changed(self.folder / name) for name in _FILES)
        self.status = _read_status(self.folder)
        return network, (*others, hash(self.status.state))

    def in_words(self, language: str) -> str:
        """The status as a sentence in a language."""
        status = self.status
        text = translate(
            language,
            _SENTENCES[status.state],
            folder=self.folder.name,
            epoch=status.epoch,
            epochs=status.epochs,
        )
        if status.seconds_left is None:
            return text
        left = translate(language, "About {time} left.", time=duration(status.seconds_left, language))
        return f"{text} {left}" if language == "en" else text + left


def duration(seconds: float, language: str) -> str:
    """A duration in a language, in seconds, minutes, or hours and minutes."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return translate(language, "{count} s", count=round(seconds))
    if minutes < 120:
        return translate(language, "{count} min", count=minutes)
    return translate(language, "{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)


def _changed(path: pathlib.Path) -> int:
    """The time of a file's last change in nanoseconds; 0 if there is no file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _read_status(folder: pathlib.Path) -> Status:
    state = _read_state(folder)
    if state is None:
        return Status()
    try:
        rows = read_history(folder)
    except (DataError, OSError):
        rows = []
    epoch = rows[-1]["epoch"] if rows else 0
    epochs = max(_read_epochs(folder), epoch)
    if state in ("tested", "published"):
        return Status("finished", epoch, epochs)
    locked = _is_locked(folder / ".run" / "lock")
    if state == "trained":
        return Status("testing" if locked else "untested", epoch, epochs)
    if not locked:
        return Status("interrupted", epoch, epochs)
    return Status("training", epoch, epochs, _seconds_left(folder, rows, epochs))


def _read_state(folder: pathlib.Path) -> str | None:
    """The state that `fit` has recorded; None if it has not begun."""
    try:
        return str(json.loads(read_text(folder / ".run" / "state.json", _MAX_BYTES))["state"])
    except READ_ERRORS:
        # A repository from elsewhere, or from a version without that file.
        return "tested" if os.path.isfile(weights_file(folder)) else None


def _read_epochs(folder: pathlib.Path) -> int:
    try:
        return int(json.loads(read_text(folder / "recipe.json", _MAX_BYTES))["recipe"]["epochs"])
    except READ_ERRORS:
        return 0


def _is_locked(path: pathlib.Path) -> bool:
    """Whether a running `fit` holds its lock."""
    if not os.path.isfile(path):
        return False
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        # Not for this user to open.
        return True


def _seconds_left(folder: pathlib.Path, rows: list[dict[str, float]], epochs: int) -> float | None:
    """An estimate as `fit` makes it, less the time since the last epoch."""
    durations = [row["seconds"] for row in rows if row["epoch"] and row["seconds"] == row["seconds"]]
    if not durations:
        return None
    whole = (epochs - rows[-1]["epoch"]) * statistics.median(durations[-5:])
    since = time.time() - _changed(folder / HISTORY) / 1e9
    return max(whole - since, 0.0)
