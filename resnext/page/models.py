"""The models that the page shows: which ones may be opened, and the few that are kept open."""

import collections
import dataclasses
import pathlib
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from resnext.classifier import Answer, Classifier
from resnext.errors import RepositoryError, ResNeXtError
from resnext.preprocessing import open_image, preprocess
from resnext.repository import BUNDLED_NAME, REPOSITORY_ID, split_revision

_MOST_LOOKS = 32  # answers kept for each model, with their feature maps (400 kB each for ResNeXt-50 at 224)


@dataclasses.dataclass(frozen=True)
class Look:
    """What came of one photograph.

    Args:
        answer: the network's.
        pixels: (image_size, image_size, 3) uint8 RGB, what the network saw.
        photograph: the whole of it, RGB, at most 1024 pixels wide or high.
        network: seconds in the network.
        seconds: from the encoded file to the answer.
    """

    answer: Answer
    pixels: np.ndarray
    photograph: Image.Image
    network: float
    seconds: float


class Model:
    """An open model, with all that the page has made of it so far."""

    def __init__(self, name: str, classifier: Classifier, notice: str | None = None):
        self.name, self.classifier, self.notice = name, classifier, notice
        self.folder: pathlib.Path = classifier.repository.folder
        self._made: dict[Any, Any] = {}
        self._looks: collections.OrderedDict[str, Look] = collections.OrderedDict()
        self._lock = threading.Lock()

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns; made once for each key."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def look(self, path: str) -> Look:
        """Classifies an uploaded photograph; the last few answers are remembered.

        Raises:
            ImageError: it is no image.
        """
        with self._lock:
            if path in self._looks:
                self._looks.move_to_end(path)
                return self._looks[path]
        start = time.perf_counter()
        preprocessing = self.classifier.config.preprocessing
        image = open_image(path, preprocessing.resize_to)
        pixels = preprocess(image, preprocessing)
        begin = time.perf_counter()
        answer = self.classifier.run(pixels)
        end = time.perf_counter()
        image.thumbnail((1024, 1024))
        look = Look(answer, pixels, image, end - begin, end - start)
        with self._lock:
            self._looks[path] = look
            while len(self._looks) > _MOST_LOOKS:
                self._looks.popitem(last=False)
        return look


class Models:
    """Opens models by name and keeps the last few.

    Args:
        start: a folder or repository id that the page starts with; the bundled model if left out.
        offered: further repository ids, OWNER/NAME or OWNER/NAME@REVISION, that a visitor may choose.
        any_model: a visitor may type any repository id.
        most: models kept in memory; the least recently used goes first.
    """

    def __init__(self, start: str | None = None, offered: tuple[str, ...] = (), any_model: bool = False, most: int = 3):
        self.any_model, self._most = any_model, most
        self._sources: dict[str, str | None] = {}
        self._open: collections.OrderedDict[str, Model] = collections.OrderedDict()
        self._locks: collections.defaultdict[str, threading.Lock] = collections.defaultdict(threading.Lock)
        self._lock = threading.Lock()
        try:
            model = self._load(_shown_name(start), start)
        except ResNeXtError as error:
            if start is None:
                raise
            message = re.sub(r"(?<!\S)/\S*/", "", str(error))  # visitors need not know the server's folders
            model = self._load(BUNDLED_NAME, None, f"{message} Until then, this page shows the bundled model.")
        self.start = model
        self._sources[model.name] = start if model.name != BUNDLED_NAME else None
        self._open[model.name] = model
        for name in (*offered, BUNDLED_NAME):
            self._sources.setdefault(name, None if name == BUNDLED_NAME else name)

    @property
    def names(self) -> list[str]:
        """What a visitor may choose from; the one that the page starts with is the first."""
        return list(self._sources)

    def open(self, name: str | None) -> Model:
        """The model of that name, opened (and downloaded) if need be.

        Raises:
            RepositoryError: it is not offered, or cannot be had.
            ConfigError, WeightsError: it cannot be used.
        """
        name = name or self.start.name
        if name not in self._sources and not (self.any_model and REPOSITORY_ID.fullmatch(split_revision(name)[0])):
            raise RepositoryError(f"{name[:200]} is not offered on this page: choose one of {', '.join(self.names)}.")
        with self._lock:
            lock = self._locks[name]
        with lock:  # whoever asks for the same model meanwhile waits for this download
            with self._lock:
                if name in self._open:
                    self._open.move_to_end(name)
                    return self._open[name]
            model = self._load(name, self._sources.get(name, name), visitors=name not in self._sources)
            with self._lock:
                self._open[name] = model
                while len(self._open) > self._most:
                    self._locks.pop(self._open.popitem(last=False)[0], None)
            return model

    def _load(self, name: str, source: str | None, notice: str | None = None, *, visitors: bool = False) -> Model:
        repo_id, revision = split_revision(source)
        classifier = Classifier.from_pretrained(repo_id, revision, hub_only=visitors)
        if classifier.repository.stale:
            commit = classifier.repository.revision[:7]
            notice = f"The Hub cannot be reached: this is the copy downloaded last, at commit {commit}."
        return Model(name, classifier, notice)


def _shown_name(start: str | None) -> str:
    """A folder's name without the folders that it lies in, which are no visitor's business."""
    if start is None:
        return BUNDLED_NAME
    path = pathlib.Path(start).expanduser()
    return path.resolve().name if path.is_dir() else start
