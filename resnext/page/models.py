"""The models that the page offers: opened when asked for, and the last answers that each gave."""

import collections
import dataclasses
import html
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
from PIL import Image

from resnext import repository
from resnext.classifier import Classifier, Output
from resnext.errors import RepositoryError, ResNeXtError
from resnext.int8 import has_int8
from resnext.page.i18n import fault
from resnext.preprocessing import open_image, preprocess

BUNDLED_NAME = "flowers (bundled)"
INT8 = ", int8"  # after a model's name: the same one by its int8 graph
MAX_EXAMPLES = 24
_EXAMPLE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_MAX_LOOKS = 32  # answers kept for each model, with their feature maps (400 kB each for ResNeXt-50 at 224)


@dataclasses.dataclass(frozen=True)
class Look:
    """What came of one photograph.

    Args:
        output: that of the network.
        pixels: (image_size, image_size, 3) uint8 RGB, what the network saw.
        photograph: the whole of it, RGB, at most 1024 pixels wide or high.
        network: seconds in the network.
        seconds: from the encoded file to the answer.
    """

    output: Output
    pixels: np.ndarray
    photograph: Image.Image
    network: float
    seconds: float


class Model:
    """A classifier that remembers its last answers, and what the page has drawn of it, so that no work is done twice.

    Args:
        classifier: opened from a model repository.
        name: what the page calls it; no folder of the server.
    """

    def __init__(self, classifier: Classifier, name: str):
        self.classifier, self.name = classifier, name
        self.plain_name = name.removesuffix(INT8)
        self.folder = classifier.repository.folder
        self._looks: collections.OrderedDict[str, Look] = collections.OrderedDict()
        self._made: dict[Hashable, Any] = {}
        self._lock, self._making = threading.Lock(), threading.RLock()

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes' names, in the order of the logits."""
        return self.classifier.config.label_names

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
            while len(self._looks) > _MAX_LOOKS:
                self._looks.popitem(last=False)
        return look

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gives, made at the first call with this key and kept as long as the model is open."""
        with self._making:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]

    def examples(self) -> list[pathlib.Path]:
        """The repository's example photographs, copied to where the page may serve them from."""

        def copy() -> list[pathlib.Path]:
            found = sorted(
                f for f in self.folder.glob("examples/*") if f.suffix.lower() in _EXAMPLE_SUFFIXES
            )[:MAX_EXAMPLES]
            self._copies = tempfile.TemporaryDirectory(prefix="examples-")  # gone with the model
            copies = []
            for file in found:
                copies.append(pathlib.Path(self._copies.name, file.name))
                copies[-1].write_bytes(file.read_bytes())
            return copies

        return self.once("examples", copy)


class Models:
    """The models that a visitor may choose; the least recently used is closed when there are too many.

    Args:
        offered: folders, repository ids on the Hub, or None for the bundled model; the first is the page's own.
        allow_any: a visitor may name any other repository of the Hub (and so fill this machine's disk).
        most: how many are kept in memory.
    """

    def __init__(self, offered: Iterable[str | None] = (None,), *, allow_any: bool = False, most: int = 3):
        self.allow_any, self.most = allow_any, most
        self.sources: dict[str, str | None] = {}
        for source in dict.fromkeys(offered):
            self.sources.setdefault(_page_name(source, self.sources), source)
        self._with_int8 = {name for name, source in self.sources.items() if _folder_has_int8(source)}
        self._open: collections.OrderedDict[str, Model] = collections.OrderedDict()
        self._lock, self._opening = threading.Lock(), collections.defaultdict(threading.Lock)

    @property
    def first(self) -> str:
        """The page's own model."""
        return next(iter(self.sources))

    def names(self, opened: Model | None = None) -> list[str]:
        """What a visitor may choose from: every model, and after it its int8 form if it is known to have one.

        Args:
            opened: a model that the visitor has named, on the list or not.
        """
        plain = dict.fromkeys([*self.sources, opened.plain_name] if opened else self.sources)
        return [name for one in plain for name in ([one, one + INT8] if one in self._with_int8 else [one])]

    def get(self, name: str | None, language: str = "en") -> Model:
        """As `open`, but what goes wrong is said in words for a visitor's eyes (`gr.Error`)."""
        try:
            return self.open(name)
        except ResNeXtError as error:
            message = without_folders(str(error), self.sources.get((name or "").removesuffix(INT8)))
            raise gr.Error(
                html.escape(fault(language, message), quote=False), print_exception=False
            ) from None

    def open(self, name: str | None) -> Model:
        """Opens a model by the page's name for it, or gives the open one; None stands for the page's own, `INT8` asks for int8.

        Raises:
            RepositoryError: the page does not offer it.
            ResNeXtError: it cannot be had or used.
        """
        name = (name or self.first).strip()
        plain = name if name in self.sources else name.removesuffix(INT8)
        source = self.sources.get(plain, plain)
        if plain not in self.sources and not (self.allow_any and is_hub_id(plain)):
            raise RepositoryError(f"{name[:200]} is not offered on this page: choose one from the list.")
        with self._lock:
            opening = self._opening[name]
        with opening:  # two visitors who ask for one model wait for the same download
            with self._lock:
                if name in self._open:
                    self._open.move_to_end(name)
                    return self._open[name]
            try:
                options = {"precision": "int8"} if name != plain else {}
                model = Model(Classifier.from_pretrained(source, **options), name)
            finally:
                with self._lock:
                    self._opening.pop(name, None)
            with self._lock:
                self._open[name] = model
                if has_int8(model.folder):
                    self._with_int8.add(plain)
                while len(self._open) > self.most:
                    self._open.popitem(last=False)
            return model


def open_models(model: str | None, more: Iterable[str] = (), **options) -> tuple[Models, str]:
    """The models asked for, with the bundled one in the place of a first that cannot be had; and a notice for the page."""
    models = Models([model, *more, None], **options)
    try:
        models.open(None)
    except ResNeXtError as error:
        if model is None:
            raise
        models = Models([None, model, *more], **options)
        models.open(None)
        return models, f"{without_folders(str(error), model)} Until then, this page shows the bundled model."
    return models, ""


def without_folders(message: str, source: str | None) -> str:
    """A message without the server's folders, which visitors need not know."""
    if source and not is_hub_id(source):
        message = message.replace(source, os.path.basename(source))
    return re.sub(r"(?<![\w.:/~])~?/\S*/", "", message)


def is_hub_id(name: str) -> bool:
    """Whether it can only be a repository of the Hub, perhaps with a revision: a visitor must not reach folders here."""
    return re.fullmatch(
        r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", name, re.ASCII
    ) is not None and not os.path.exists(name)


def _folder_has_int8(source: str | None) -> bool:
    """Of a model that lies on this machine; of one on the Hub, it is seen when it is opened."""
    return not (source and is_hub_id(source)) and has_int8(
        repository.BUNDLED_FOLDER if source is None else pathlib.Path(source).expanduser()
    )


def _page_name(source: str | None, taken: Iterable[str]) -> str:
    if source is None:
        return BUNDLED_NAME
    if is_hub_id(source):
        return source
    name = folder = pathlib.Path(source).expanduser().resolve().name
    number = 2
    while name in taken:
        name, number = f"{folder} ({number})", number + 1
    return name
