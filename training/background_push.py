"""Pushes an unfinished run to the Hub in the background, so that training never waits for the Hub."""

import dataclasses
import os
import pathlib
import shutil
import threading
from collections.abc import Callable

import keras

from resnext import hub_requests
from resnext.errors import ResNeXtError

from .push import PushOptions, no_progress_bars, push
from .run_folder import PRIVATE

_FILES = ("config.json", "model.safetensors", "recipe.json", "history.csv", "README.md")


class BackgroundPush(keras.callbacks.Callback):
    """Pushes the best weights until now after every Nth epoch, in a thread of its own.

    While one push is not finished, the next one is left out. What could not be pushed is pushed with the
    finished run. It takes the place of huggingface_hub's CommitScheduler, which pushes at fixed times, even
    between two files of an epoch, and overwrites the card.

    Args:
        folder: The output folder of the run.
        repo_id: The Hub repository, OWNER/NAME.
        options: How it is pushed.
        every: The number of epochs between two pushes.
        report: Called with a line for each push that has ended.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        repo_id: str,
        options: PushOptions,
        every: int,
        report: Callable[[str], object],
    ):
        super().__init__()
        self._folder = folder
        self._repo_id = repo_id
        self._options = options
        self._every = every
        self._report = report
        self._thread: threading.Thread | None = None
        self._results: list[str] = []

    def on_epoch_end(self, epoch, logs=None):
        self._tell()
        if (epoch + 1) % self._every or (self._thread and self._thread.is_alive()):
            return
        try:
            snapshot = self._take_snapshot()
        except OSError as error:
            self._results.append(f"Epoch {epoch + 1} was not pushed: {error.strerror}.")
            return
        # A daemon, so that a Hub that does not answer does not keep the program from ending.
        self._thread = threading.Thread(target=self._push, args=(snapshot, epoch + 1), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits for a push that is under way, as long as the Hub is waited for, and says how it ended."""
        if self._thread:
            self._thread.join(2 * hub_requests.MAX_WAIT)
        self._tell()
        shutil.rmtree(self._snapshot, ignore_errors=True)

    @property
    def _snapshot(self) -> pathlib.Path:
        return self._folder / PRIVATE / "push"

    def _take_snapshot(self) -> pathlib.Path:
        """Links the files of this moment: each of them is replaced, never changed, by later epochs."""
        shutil.rmtree(self._snapshot, ignore_errors=True)
        self._snapshot.mkdir(parents=True)
        for name in _FILES:
            if (self._folder / name).exists():
                try:
                    os.link(self._folder / name, self._snapshot / name)
                except OSError:  # a file system without links
                    shutil.copyfile(self._folder / name, self._snapshot / name)
        return self._snapshot

    def _push(self, snapshot: pathlib.Path, epoch: int) -> None:
        options = dataclasses.replace(self._options, message=f"Epoch {epoch}")
        lines: list[str] = []
        try:
            with no_progress_bars():
                url = push(snapshot, self._repo_id, options, report=lines.append, snapshot_of=self._folder)
            self._results.append(f"Epoch {epoch} was pushed to {url}" if url else lines[-1])
        except ResNeXtError as error:
            self._results.append(f"Epoch {epoch} was not pushed; training continues. {error}")
        except OSError as error:  # the folder was removed, or the disk is full
            self._results.append(f"Epoch {epoch} was not pushed; training continues: {error.strerror}.")

    def _tell(self) -> None:
        while self._results:
            self._report(self._results.pop(0))
