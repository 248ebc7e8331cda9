"""The models that the page offers: opened when they are asked for, with the last classifications of each."""

import collections
import dataclasses
import html
import io
import os
import pathlib
import re
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import gradio as gr
import numpy as np

from resnext import repository
from resnext.classifier import Classifier, Output
from resnext.errors import RepositoryError, ResNeXtError, shortened
from resnext.hub import EXAMPLE_SUFFIXES, MAX_EXAMPLES
from resnext.int8 import has_int8
from resnext.page.i18n import translate_error
from resnext.page.runs import Run
from resnext.preprocessing import open_image, preprocess

BUNDLED_NAME = repository.bundled_title(repository.DEFAULT)  # stands in for a model that cannot be opened
# After the name of a model: the same model, run by its int8 graph.
INT8 = ", int8"
# Kept for each model, with their feature maps (400 kB each for ResNeXt-50 at 224 x 224).
_MAX_CLASSIFICATIONS = 32


@dataclasses.dataclass(frozen=True)
class Classification:
    """The result of classifying one photograph.

    Args:
        output: The output of the network.
        pixels: The network's input, (image_size, image_size, 3) uint8 RGB.
        photograph: The whole photograph, at most 1024 pixels wide and high, as the content of a JPEG file
            without metadata: decoded, it would take 3 MB for each of those that are remembered.
        size: The width and height of the photograph.
        network_seconds: The time that the network took.
        total_seconds: The time from the encoded file to the output.
        unknown: Whether the photograph looks like none of the classes; None if nothing tells.
    """

    output: Output
    pixels: np.ndarray
    photograph: bytes
    size: tuple[int, int]
    network_seconds: float
    total_seconds: float
    unknown: bool | None = None

    def most_likely(self, count: float) -> list[int]:
        """The indices of so many classes, the most likely first."""
        order = (-self.output.probabilities).argsort(kind="stable")
        return [int(index) for index in order[: int(count)]]

    def probability(self, label: int) -> float:
        """The probability of the class with that index."""
        return float(self.output.probabilities[label])


class Model:
    """A classifier that remembers its last classifications and what the page has made of it.

    Args:
        classifier: The classifier, opened from a model repository.
        name: The page's name of the model, never a folder of the server.
        stamp: What tells this state of the files of a followed run from later ones; empty for others.

    Attributes:
        labels: The names of the classes as the page shows them, in the order of the logits.
    """

    def __init__(self, classifier: Classifier, name: str, stamp: tuple = ()):
        self.classifier = classifier
        self.name = name
        self.stamp = stamp
        self.plain_name = name.removesuffix(INT8)
        self.folder = classifier.repository.folder
        self.labels = tuple(map(shortened, classifier.config.label_names))
        self._classifications: collections.OrderedDict[str, Classification] = collections.OrderedDict()
        self._cache: dict[Hashable, Any] = {}
        self._lock = threading.Lock()
        self._cache_lock = threading.RLock()

    @property
    def version(self) -> tuple:
        """Whether it was the newest commit when it was opened, the commit, and the stamp if it has one."""
        repository = self.classifier.repository
        return repository.current, repository.revision, *self.stamp

    def classify(self, path: str) -> Classification:
        """Classifies an uploaded photograph, unless the result is remembered.

        Raises:
            ImageError: The file is not an image, or too large.
        """
        with self._lock:
            if path in self._classifications:
                self._classifications.move_to_end(path)
                return self._classifications[path]
        classification = self._classify(path)
        with self._lock:
            self._classifications[path] = classification
            while len(self._classifications) > _MAX_CLASSIFICATIONS:
                self._classifications.popitem(last=False)
        return classification

    def _classify(self, path: str) -> Classification:
        preprocessing = self.classifier.config.preprocessing
        start = time.perf_counter()
        image = open_image(path, preprocessing.resize_to)
        pixels = preprocess(image, preprocessing)
        begin = time.perf_counter()
        output = self.classifier.run(pixels)
        end = time.perf_counter()
        unknown = self.classifier.is_unknown(pixels)
        total = time.perf_counter() - start
        image.thumbnail((1024, 1024))
        photograph = io.BytesIO()
        image.save(photograph, "JPEG", quality=90)
        return Classification(output, pixels, photograph.getvalue(), image.size, end - begin, total, unknown)

    def cached(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The result of `make`, which is called once for each key and kept as long as the model is open."""
        with self._cache_lock:
            if key not in self._cache:
                self._cache[key] = make()
            return self._cache[key]

    def examples(self) -> list[pathlib.Path]:
        """The repository's example photographs, copied to a folder that the page may serve files from."""
        return self.cached("examples", self._copy_examples)

    def _copy_examples(self) -> list[pathlib.Path]:
        files = [file for file in self.folder.glob("examples/*") if file.suffix.lower() in EXAMPLE_SUFFIXES]
        # Deleted together with this object.
        self._copies = tempfile.TemporaryDirectory(prefix="examples-")
        copies = []
        for file in sorted(files)[:MAX_EXAMPLES]:
            copy = pathlib.Path(self._copies.name, file.name)
            copy.write_bytes(file.read_bytes())
            copies.append(copy)
        return copies


class Models:
    """The models that a visitor may choose. When too many are open, the least recently used is closed.

    Args:
        offered: Folders, repository ids, names of bundled models, or None for the bundled flowers. The first
            is the page's default.
        allow_any: Whether visitors may open any other Hub repository, which fills this machine's disk. The
            Hub is asked for these without the owner's token.
        most: The number of models kept in memory.

    Attributes:
        warning: Why the bundled model stands in for the page's default; empty if it does not.
        feedback: Where visitors' corrections are stored (`Feedback`), or None.
        run: The run that the page follows (`Run`), whose folder is the page's default; or None.
    """

    def __init__(self, offered: Iterable[str | None] = (None,), *, allow_any: bool = False, most: int = 3):
        self.allow_any = allow_any
        self.most = most
        self.warning = ""
        self.feedback: Any = None
        self.run: Run | None = None
        self.sources: dict[str, str] = {}
        for source in dict.fromkeys(map(_unambiguous, offered)):
            self.sources.setdefault(_page_name(source, self.sources), source)
        self._with_int8 = {name for name, source in self.sources.items() if _folder_has_int8(source)}
        self._open: collections.OrderedDict[str, Model] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._opening = collections.defaultdict(threading.Lock)

    @property
    def first(self) -> str:
        """The name of the page's default model."""
        return next(iter(self.sources))

    @property
    def default(self) -> str:
        """The name of the model that a visitor sees first: the page's default, or what stands in for it."""
        return BUNDLED_NAME if self.warning and BUNDLED_NAME in self.sources else self.first

    def names(self, opened: Model | None = None) -> list[str]:
        """The names that a visitor may choose: each model, followed by its int8 form if it has one.

        Args:
            opened: The model that the visitor has opened, which need not be on the list.
        """
        plain = dict.fromkeys([*self.sources, opened.plain_name] if opened else self.sources)
        names = []
        for name in plain:
            names.append(name)
            if name in self._with_int8:
                names.append(name + INT8)
        return names

    def get(self, name: str | None, language: str = "en") -> Model:
        """Opens a model as `open` does.

        Raises:
            gr.Error: The model cannot be opened; the message is for a visitor, in their language.
        """
        if not isinstance(name, str | None):
            raise gr.Error("The name of a model has to be text.", print_exception=False)
        try:
            return self.open(name)
        except ResNeXtError as error:
            source = self.sources.get((name or "").removesuffix(INT8))
            message = translate_error(language, without_folders(str(error), source))
            raise gr.Error(html.escape(message, quote=False), print_exception=False) from None

    def open(self, name: str | None) -> Model:
        """Opens a model, unless it is open already.

        Args:
            name: The page's name of the model, plus `INT8` for its int8 form; the default model if empty.

        Raises:
            RepositoryError: The page does not offer the model.
            ResNeXtError: The model cannot be downloaded or is invalid.
        """
        name = repository.plain_name(name or self.default)
        plain = self._plain(name)
        if plain not in self.sources and not (self.allow_any and is_hub_id(plain)):
            raise RepositoryError(f"{name[:200]} is not offered on this page: choose one from the list.")
        with self._lock:
            if name in self._open:
                self._open.move_to_end(name)
                return self._open[name]
            opening = self._opening[name]
        # Two visitors who ask for the same model wait for the same download.
        with opening:
            with self._lock:
                if name in self._open:
                    return self._open[name]
            try:
                model = self._load(name, self._find(name))
            finally:
                with self._lock:
                    self._opening.pop(name, None)
            self._keep(model)
            return model

    def open_copy(self, name: str, reason: str) -> repository.Repository | None:
        """Opens the copy of a Hub repository that was last downloaded, without asking the Hub.

        Args:
            name: The page's name of the model.
            reason: Why the Hub is not asked, a sentence for the notice.

        Returns:
            The copy, with a notice that has the reason; None if there is none, it cannot be opened, or
            the model is open by now.
        """
        found = repository.find_copy_here(self.sources[name], reason)
        if found is None:
            return None
        try:
            model = self._load(name, found)
        except ResNeXtError:
            return None
        with self._lock:
            if name in self._open:  # the Hub has answered in the meantime
                return None
        self._keep(model)
        return found

    def followed(self) -> list[str]:
        """The names of the open models that the Hub may have newer commits of."""
        with self._lock:
            names = list(self._open)
        return [name for name in names if self._is_branch(self.sources.get(self._plain(name)) or "")]

    def renew(self, name: str) -> repository.Repository:
        """Loads the newest commit of an open model beside it, and puts it in the model's place.

        Requests that have begun keep the model that they began with.

        Args:
            name: The page's name of the model.

        Returns:
            What is open now. If the Hub cannot be asked, the last copy, with a notice that says why.

        Raises:
            ResNeXtError: The newest commit cannot be loaded. The open model stays.
        """
        with self._lock:
            old = self._open.get(name)
        found = self._find(name)
        if old is None or (found.current, found.revision) != old.version:
            model = self._load(name, found)
            with self._lock:
                replaced = name in self._open
                if replaced:
                    self._open[name] = model
            if not replaced and name == self.first:
                self._keep(model)
        return found

    def reload(self, stamp: tuple) -> None:
        """Loads the page's default model again, whose files have changed, and puts it in the model's place.

        Args:
            stamp: What tells this state of its files from others (`Run.look`). The first item is of the
                network's files: if it is the same as before, the network is kept.

        Raises:
            ResNeXtError: The network cannot be loaded. The open model stays.
        """
        name = self.first
        with self._lock:
            old = self._open.get(name)
        if old is not None and old.stamp[:1] == stamp[:1]:
            model = Model(old.classifier, name, stamp)
        else:
            model = Model(Classifier.open(self._find(name)), name, stamp)
        self._keep(model)

    @staticmethod
    def _is_branch(source: str) -> bool:
        return is_hub_id(source) and not re.search("@[0-9a-f]{40}$", source)

    def _plain(self, name: str) -> str:
        return name if name in self.sources else name.removesuffix(INT8)

    def _find(self, name: str) -> repository.Repository:
        """Finds the repository of a model. The owner's token is for models that the owner has named."""
        plain = self._plain(name)
        return repository.find_repository(self.sources.get(plain, plain), anonymous=plain not in self.sources)

    def _load(self, name: str, found: repository.Repository) -> Model:
        options = {"precision": "int8"} if name != self._plain(name) else {}
        return Model(Classifier.open(found, **options), name)

    def _keep(self, model: Model) -> None:
        with self._lock:
            self._open[model.name] = model
            if has_int8(model.folder):
                self._with_int8.add(model.plain_name)
            while len(self._open) > self.most:
                self._open.popitem(last=False)


def without_folders(message: str, source: str | None) -> str:
    """The message without the folders of the server, which are not for visitors."""
    if source and not is_hub_id(source):
        message = message.replace(source, os.path.basename(source))
    return re.sub(r"(?<![\w.:/~])~?/\S*/", "", message)


def is_hub_id(name: str) -> bool:
    """Whether a name can only be a Hub repository, perhaps with a revision, and not a folder here."""
    pattern = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?"
    return re.fullmatch(pattern, name, re.ASCII) is not None and not os.path.exists(name)


def _folder_has_int8(source: str) -> bool:
    """Whether a model on this machine has an int8 graph. For one on the Hub, opening it will tell."""
    if is_hub_id(source):
        return False
    bundled = repository.bundled_name(source)
    return has_int8(repository.BUNDLED[bundled] if bundled else pathlib.Path(source).expanduser())


def _unambiguous(model: str | None) -> str:
    """The plain name of a model; of a bundled one, the name that no folder has."""
    bundled = repository.bundled_name(model)
    return repository.bundled_title(bundled) if model is None or bundled else repository.plain_name(model)


def _page_name(source: str, taken: Iterable[str]) -> str:
    """The name of a model on the page: a folder's own name, with a number if another model has that name."""
    if repository.bundled_name(source):
        return source
    if is_hub_id(source):
        return source
    folder = pathlib.Path(source).expanduser().resolve().name
    name = folder
    number = 2
    while name in taken:
        name = f"{folder} ({number})"
        number += 1
    return name
