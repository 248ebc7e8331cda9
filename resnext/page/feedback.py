"""Stores visitors' corrections, with their consent, in a data set on the Hub."""

import concurrent.futures
import datetime
import hashlib
import json
import pathlib
import tempfile
import threading
import time
import uuid
from collections.abc import Callable

import huggingface_hub
from huggingface_hub import constants

from resnext.hub_errors import client_errors
from resnext.page.models import Classification, Model

NONE_OF_THESE = ""
# Of each run: visitors must not be able to fill the disk.
MAX_CORRECTIONS = 1000
_MINUTES = 5.0  # between commits
_LAST_COMMIT = 20  # seconds that the end of the page waits for the last commit


class _Scheduler(huggingface_hub.CommitScheduler):
    """The Hub's scheduler, whose faults are reported in one line: its own log may show addresses."""

    def __init__(self, on_fault: Callable[[], None], **options):
        self.is_pushed = False
        self._on_fault = on_fault
        super().__init__(**options)

    def push_to_hub(self):
        try:
            commit = super().push_to_hub()
        except client_errors():
            self.is_pushed = False
            self._on_fault()
            return None
        self.is_pushed = True
        return commit


class Feedback:
    """The corrections of a page's visitors.

    They are files of this machine first, so that a Hub that is down loses nothing: what could not be pushed
    is pushed by the next run with the same folder.

    Args:
        repo_id: The data set, OWNER/NAME, which is made private if it does not exist.
        report: Prints a line for the page's owner.
        folder: The folder of the files. Default: a folder in HF_HOME.
        minutes: The time between commits.
    """

    def __init__(
        self,
        repo_id: str,
        report: Callable[[str], None],
        folder: pathlib.Path | None = None,
        minutes: float = _MINUTES,
    ):
        self.repo_id = repo_id
        self.report = report
        self.minutes = minutes
        self.folder = _writable(folder or _default_folder(repo_id))
        # One folder for each run, in the Hub's form of a data set of images.
        self._own = self.folder / uuid.uuid4().hex[:12]
        self._scheduler: _Scheduler | None = None
        self._lock = threading.Lock()
        self._count = 0
        self._said = False

    def start(self) -> None:
        """Begins to push in the background, as soon as the Hub answers."""
        threading.Thread(target=self._connect, daemon=True, name="feedback").start()

    def _connect(self) -> None:
        while not self.connect():
            time.sleep(60)

    def connect(self) -> bool:
        """Makes the data set if needed, and begins to push. Returns whether that worked."""
        # It shows the addresses of failed requests, which may be signed.
        huggingface_hub.logging.set_verbosity_error()
        try:
            self._scheduler = _Scheduler(
                self._say_fault,
                repo_id=self.repo_id,
                repo_type="dataset",
                folder_path=self.folder,
                every=self.minutes,
                private=True,
                path_in_repo="data",
            )
        except client_errors():
            self._say_fault()
            return False
        return True

    def store(self, model: Model, classification: Classification, label: str) -> bool:
        """Stores a photograph and its right class.

        Args:
            model: The model that classified it.
            classification: The result.
            label: The name of the right class, or `NONE_OF_THESE`.

        Returns:
            Whether it was stored; no more are after `MAX_CORRECTIONS`, or when the disk is full.
        """
        # Without metadata, such as the place where it was taken.
        photograph = classification.photograph
        name = f"{hashlib.sha256(photograph).hexdigest()[:32]}.jpg"
        best = classification.most_likely(1)[0]
        row = {
            "file_name": name,
            "label": label,
            "predicted": model.classifier.config.label_names[best],
            "probability": round(classification.probability(best), 6),
            "model": model.name,
            "revision": model.classifier.repository.revision,
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        lock = self._scheduler.lock if self._scheduler else self._lock
        with lock:
            if self._count >= MAX_CORRECTIONS:
                return False
            self._count += 1
            try:
                self._own.mkdir(parents=True, exist_ok=True)
                (self._own / name).write_bytes(photograph)
                with (self._own / "metadata.jsonl").open("a", encoding="utf-8") as rows:
                    rows.write(json.dumps(row, ensure_ascii=False) + "\n")
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Pushes what was not pushed yet, or says where it is kept."""
        pushed = not self._count
        if self._scheduler is not None:
            future = self._scheduler.trigger()
            try:
                future.result(_LAST_COMMIT)
                pushed = self._scheduler.is_pushed
            except concurrent.futures.TimeoutError:
                pushed = False
            self._scheduler.stop()
        if not pushed:
            self.report(
                f"The last corrections could not be pushed to {self.repo_id}: they are kept in "
                f"{self.folder}, and the next run with this folder pushes them."
            )

    def _say_fault(self) -> None:
        if not self._said:
            self.report(
                f"Corrections cannot be pushed to the data set {self.repo_id} now: they are kept in "
                f"{self.folder}. Check the token's rights (`hf auth login`, HF_TOKEN); it is tried again."
            )
        self._said = True


def _default_folder(repo_id: str) -> pathlib.Path:
    return pathlib.Path(constants.HF_HOME, "resnext-feedback", repo_id.replace("/", "--"))


def _writable(folder: pathlib.Path) -> pathlib.Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return pathlib.Path(tempfile.mkdtemp(prefix="resnext-feedback-"))
