"""Teaching: new classes from a few pictures, with a classifier that is solved again after each change."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import io
import itertools
import json
import os
import pathlib
import platform
import threading
import unicodedata
import weakref
import zipfile
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl
from PIL import Image

import resnext
from resnext.card import write_card
from resnext.classifier import Classifier
from resnext.errors import ImageError, TeachingError
from resnext.linear_probe import LinearProbe, pool, softmax
from resnext.metrics import MIN_CALIBRATION_IMAGES, fit_temperature, measure
from resnext.ood import Detector, backbone_features, background, cross_validate_detector
from resnext.preprocessing import load_pixels, open_image
from resnext.repository import (
    BACKBONE,
    bundled_title,
    find_repository,
    load_config,
    load_tensors,
    weights_digest,
)
from resnext.results import CalibrationBin, Evaluation
from resnext.weights import write_safetensors

MAX_CLASSES = 20
MAX_PICTURES = 200  # of a class
MAX_BYTES = 64 * 2**20  # of a lesson: its pictures and their features
MAX_ALL_BYTES = 2**30  # of all lessons of a process
LEAVE_ONE_OUT = "leave-one-out"  # in evaluation.json
MAX_NAME = 60  # characters of a class' name
# The bundled backbone was trained on small images; recipe `probe` looks at photographs with it like this.
_BACKBONE_SIZE = 160
_BACKBONE_CROP = 0.875
# Up to so many pictures, each is left out alone; of more, groups of them are.
MAX_LEFT_OUT_ALONE = 60
_FEWEST_GROUPS = 5
# From fewer pictures, no threshold for photographs of none of the classes can be chosen.
MIN_FOR_DETECTOR = 10
# Pictures are kept with at most so many pixels on the shorter and on the longer side.
_MAX_SIDES = 320, 1280
_QUALITY = 90
THUMBNAIL_SIDE = 72
_MAX_PASSES_OF_PROBE = 300  # recipe `probe`
# Class names are names of folders, on every system.
_FORBIDDEN = frozenset('/\\:*?"<>|')


class Network:
    """A network whose features are taught with.

    Args:
        name: The name to show.
        classifier: The network, of a repository.

    Attributes:
        repository: The repository of the network.
        key: Identifies the network and its weights.
    """

    def __init__(self, name: str, classifier: Classifier):
        self.name = name
        self.classifier = classifier
        assert classifier.repository is not None
        self.repository = classifier.repository
        self.key = (name, self.repository.revision, id(classifier))

    @property
    def preprocessing(self):
        """How a picture becomes the network's input."""
        return self.classifier.config.preprocessing

    def look(self, content: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Computes what is kept of a picture.

        Args:
            content: An encoded image.

        Returns:
            The pooled features of the picture and of its mirror image, (2, channels) float16; and the
            coordinates of the bundled backbone's features, (dimensions,) float16, for the detector.
        """
        pixels = load_pixels(content, self.preprocessing)
        views = (pixels, np.ascontiguousarray(pixels[:, ::-1]))
        features = np.stack([pool(self.classifier.run(view)) for view in views])
        coordinates = backbone_features(pixels, self.classifier.runtime) @ background()["basis"]
        return features.astype(np.float16), coordinates.astype(np.float16)


@functools.cache
def default_network() -> Network:
    """The bundled backbone, opened once for all lessons.

    It was trained on 200 kinds of things and is small, so that its features suit most classes and a picture
    takes milliseconds.
    """
    name = bundled_title(BACKBONE)
    classifier = Classifier.open(find_repository(name), image_size=_BACKBONE_SIZE, crop_pct=_BACKBONE_CROP)
    return Network(name, classifier)


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a class.

    Args:
        number: Its number, which no other picture of the lesson has or had.
        content: The JPEG file, without metadata.
        digest: The digest of the content, by which copies are recognized.
        thumbnail: A square of its middle, `THUMBNAIL_SIDE` pixels wide, a JPEG file.
        features: See `Network.look`.
        coordinates: See `Network.look`.
    """

    number: int
    content: bytes
    digest: bytes
    thumbnail: bytes
    features: np.ndarray
    coordinates: np.ndarray

    @property
    def size(self) -> int:
        """The memory that it takes, in bytes."""
        return len(self.content) + len(self.thumbnail) + self.features.nbytes + self.coordinates.nbytes


@dataclasses.dataclass(eq=False)
class TaughtClass:
    """A class: its number, which no other class of the lesson has or had, its name and its pictures."""

    number: int
    name: str
    pictures: list[Picture] = dataclasses.field(default_factory=list)


class Misfit(NamedTuple):
    """A picture that looks like another class to the classifiers that have not seen it.

    Args:
        picture: The picture.
        label: The name of its class.
        likelier: The name of the most likely class.
        probability: The probability of its class, in [0, 1].
    """

    picture: Picture
    label: str
    likelier: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Solution:
    """The classifier of a lesson.

    Args:
        labels: The names of the classes that have pictures.
        weight: (classes, channels) float32.
        bias: (classes,) float32.
        temperature: The temperature that weight and bias were divided by; 1 if too few pictures could be
            tested to fit one.
        evaluation: How pictures were classified by classifiers that had not seen them; None if no class has
            two pictures.
        misfits: The pictures that were not classified as their class, the most doubtful first.
        untested: The names of the classes with a single picture, which cannot be left out.
    """

    labels: tuple[str, ...]
    weight: np.ndarray
    bias: np.ndarray
    temperature: float
    evaluation: Evaluation | None
    misfits: tuple[Misfit, ...]
    untested: tuple[str, ...]


class Result(NamedTuple):
    """The classification of a photograph.

    Args:
        labels: The names of the classes.
        probabilities: (classes,) float32.
        unknown: Whether it looks like none of the classes; None if there are too few pictures to tell.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    unknown: bool | None


class Lessons:
    """All lessons of a process, which share its memory.

    Args:
        max_bytes: The memory that all of them may take.
    """

    def __init__(self, max_bytes: int = MAX_ALL_BYTES):
        self.max_bytes = max_bytes
        self._all: weakref.WeakSet[Lesson] = weakref.WeakSet()
        self._lock = threading.Lock()

    def begin(self, network: Network) -> "Lesson":
        """Begins an empty lesson. It is forgotten when nothing refers to it any more."""
        lesson = Lesson(network, self)
        with self._lock:
            self._all.add(lesson)
        return lesson

    @property
    def size(self) -> int:
        """The memory that all lessons take, in bytes."""
        with self._lock:
            return sum(lesson.size for lesson in self._all)


class Lesson:
    """What one visitor teaches: classes with pictures, and the classifier that fits them. It is thread-safe.

    Args:
        network: The network whose features are used.
        lessons: All lessons, whose memory is limited together.

    Attributes:
        classes: The classes in their order.
    """

    def __init__(self, network: Network, lessons: Lessons):
        self.network = network
        self.lock = threading.RLock()
        self.classes: list[TaughtClass] = []
        self.size = 0
        self._lessons = lessons
        self._numbers = itertools.count(1)
        self._solution: Solution | None = None
        self._detector: Detector | None = None

    def __deepcopy__(self, memo: dict) -> "Lesson":
        raise TypeError("a lesson is not copied: it has one owner")

    def clear(self) -> None:
        """Forgets all classes and pictures."""
        with self.lock:
            self.classes.clear()
            self.size = 0
            self._forget_solution()

    def find(self, number: int) -> TaughtClass:
        """The class with that number.

        Raises:
            TeachingError: There is none (any more).
        """
        found = next((one for one in self.classes if one.number == number), None)
        if found is None:
            raise TeachingError("This class no longer exists: add it again.")
        return found

    def add_class(self, name: str) -> TaughtClass:
        """Adds an empty class.

        Raises:
            TeachingError: The name is not valid or taken, or there are `MAX_CLASSES` classes already.
        """
        with self.lock:
            name = self._check_name(name)
            if len(self.classes) >= MAX_CLASSES:
                raise TeachingError(f"There are {MAX_CLASSES} classes already: remove one first.")
            self.classes.append(TaughtClass(next(self._numbers), name))
            return self.classes[-1]

    def add_unnamed_class(self, pattern: str) -> TaughtClass:
        """Adds an empty class with the first free name of a pattern such as "Class {number}"."""
        with self.lock:
            names = (pattern.format(number=number) for number in itertools.count(1))
            return self.add_class(next(name for name in names if self._with_name(name) is None))

    def class_named(self, name: str) -> TaughtClass:
        """The class of that name, which is added if there is none; see `add_class`."""
        with self.lock:
            return self._with_name(name.strip()) or self.add_class(name)

    def rename_class(self, number: int, name: str) -> None:
        """Gives a class another name; see `add_class`."""
        with self.lock:
            renamed = self.find(number)
            renamed.name = self._check_name(name, renamed)
            self._forget_solution()

    def remove_class(self, number: int) -> None:
        """Removes a class and its pictures."""
        with self.lock:
            removed = self.find(number)
            self.classes.remove(removed)
            self.size -= sum(picture.size for picture in removed.pictures)
            self._forget_solution()

    def remove_picture(self, number: int) -> None:
        """Removes a picture, if it is there."""
        with self.lock:
            for one in self.classes:
                for picture in [picture for picture in one.pictures if picture.number == number]:
                    one.pictures.remove(picture)
                    self.size -= picture.size
                    self._forget_solution()

    def add_pictures(self, number: int, sources: Iterable[Callable[[], bytes | str]]) -> list[str | None]:
        """Adds pictures to a class. They are decoded and looked at in parallel.

        Args:
            number: The number of the class.
            sources: Functions that return a path, or the bytes of an encoded image. They may raise
                ImageError.

        Returns:
            For each picture why it was not added, a sentence; empty if the lesson has it already; None if it
            was added.
        """
        with self.lock, concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as executor:
            known = {picture.digest for one in self.classes for picture in one.pictures}
            target = self.find(number)
            return [
                self._add(target, known, looked)
                for looked in executor.map(functools.partial(_take, self.network), sources)
            ]

    def _add(self, target: TaughtClass, known: set[bytes], looked: "_Taken | str") -> str | None:
        if isinstance(looked, str):
            return looked
        if looked.digest in known:
            return ""
        if len(target.pictures) >= MAX_PICTURES:
            return f"{target.name} has {MAX_PICTURES} pictures already: remove some first."
        picture = Picture(next(self._numbers), *looked)
        if self.size + picture.size > MAX_BYTES:
            return f"Your pictures take {MAX_BYTES >> 20} MB already: remove some first."
        if self._lessons.size + picture.size > self._lessons.max_bytes:
            return "This page holds as many pictures of visitors as it can at the moment: try again later."
        known.add(picture.digest)
        target.pictures.append(picture)
        self.size += picture.size
        self._forget_solution()
        return None

    def use(self, network: Network) -> None:
        """Changes to the features of another network, which are computed of all pictures."""
        with self.lock:
            if network.key == self.network.key:
                return
            self.network = network
            for one in self.classes:
                one.pictures = [_look_again(network, picture) for picture in one.pictures]
            self.size = sum(picture.size for one in self.classes for picture in one.pictures)
            self._forget_solution()

    def solve(self) -> Solution | None:
        """Solves the classifier, unless nothing has changed. None with fewer than two classes of pictures."""
        with self.lock:
            taught = self.taught()
            if self._solution is None and len(taught) > 1:
                with _one_thread():
                    self._solution = _solve(taught)
            return self._solution

    def detector(self) -> Detector | None:
        """Fits what recognizes photographs of none of the classes. None with too few pictures."""
        with self.lock:
            taught = self.taught()
            pictures = [picture for one in taught for picture in one.pictures]
            if self._detector is None and len(taught) > 1 and len(pictures) >= MIN_FOR_DETECTOR:
                known = np.stack([picture.coordinates for picture in pictures]).astype(np.float32)
                with _one_thread():
                    self._detector = cross_validate_detector(known, _labels(taught))
            return self._detector

    @property
    def count(self) -> int:
        """The number of pictures."""
        with self.lock:
            return sum(len(one.pictures) for one in self.classes)

    def taught(self) -> list[TaughtClass]:
        """The classes that have pictures, in the order of folders, so that `fit` keeps their classifier."""
        return sorted((one for one in self.classes if one.pictures), key=lambda one: one.name)

    def classify(self, source: str | bytes | Image.Image) -> Result | None:
        """Classifies a photograph. None with fewer than two classes of pictures.

        Args:
            source: A path, the bytes of an encoded image, or an image.

        Raises:
            ImageError: It cannot be read as an image.
        """
        with self.lock:
            solution, detector, network = self.solve(), self.detector(), self.network
        if solution is None:
            return None
        pixels = load_pixels(source, network.preprocessing)
        logits = solution.weight @ pool(network.classifier.run(pixels)) + solution.bias
        return Result(solution.labels, softmax(logits), detector.is_unknown(pixels) if detector else None)

    def _with_name(self, name: str) -> TaughtClass | None:
        return next((one for one in self.classes if _folded(one.name) == _folded(name)), None)

    def _check_name(self, name: str, renamed: TaughtClass | None = None) -> str:
        """The name as it will be kept."""
        name = unicodedata.normalize("NFC", " ".join(name.split())).rstrip(".")
        bad = sorted(_FORBIDDEN & set(name))
        if not name or bad or name.startswith(".") or not name.isprintable() or len(name) > MAX_NAME:
            raise TeachingError(
                f"The name of a class has 1 to {MAX_NAME} characters, none of them "
                f"{' '.join(sorted(_FORBIDDEN))}, and does not begin with a full stop: choose another name."
            )
        if self._with_name(name) not in (None, renamed):
            raise TeachingError(f"There is a class {name} already: choose another name.")
        return name

    def _forget_solution(self) -> None:
        self._solution = self._detector = None


class _Taken(NamedTuple):
    content: bytes
    digest: bytes
    thumbnail: bytes
    features: np.ndarray
    coordinates: np.ndarray


def _take(network: Network, source: Callable[[], bytes | str]) -> "_Taken | str":
    """Reads a picture; returns what is kept of it, or why it cannot be read."""
    try:
        content = encode(source())
    except ImageError as error:
        return error.args[0]
    digest = hashlib.sha256(content).digest()
    return _Taken(content, digest, _thumbnail(content), *network.look(content))


def _look_again(network: Network, picture: Picture) -> Picture:
    features, coordinates = network.look(picture.content)
    return dataclasses.replace(picture, features=features, coordinates=coordinates)


def encode(source: bytes | str | Image.Image) -> bytes:
    """A picture as it is kept: an upright JPEG file of moderate size without metadata, such as the place.

    Raises:
        ImageError: It cannot be read as an image.
    """
    image = open_image(source, _MAX_SIDES[0])
    scale = min(1.0, max(_MAX_SIDES[0] / min(image.size), 0.0), _MAX_SIDES[1] / max(image.size))
    if scale < 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _thumbnail(content: bytes) -> bytes:
    side = THUMBNAIL_SIDE
    image = open_image(content, side)
    edge = min(image.size)
    left, top = ((length - edge) // 2 for length in image.size)
    buffer = io.BytesIO()
    image.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + edge, top + edge)).save(
        buffer, "JPEG", quality=75
    )
    return buffer.getvalue()


def _one_thread() -> contextlib.AbstractContextManager:
    """Products of small matrices: a second thread would take the time of another visitor and save none."""
    return _threads().limit(limits=1, user_api="blas")


@functools.cache
def _threads() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _labels(taught: list[TaughtClass]) -> np.ndarray:
    return np.repeat(np.arange(len(taught)), [len(one.pictures) for one in taught])


def _groups(taught: list[TaughtClass]) -> np.ndarray:
    """The group that each picture is left out with: (pictures,) int; -1 for the only one of a class."""
    counts = [len(one.pictures) for one in taught]
    tested = np.repeat(np.array(counts) > 1, counts)
    total = int(tested.sum())
    # The time for a solution grows with the pictures times the groups.
    most = max(_FEWEST_GROUPS, 1000 // max(total, 1))
    groups = np.full(len(tested), -1)
    groups[tested] = np.arange(total) % (total if total <= MAX_LEFT_OUT_ALONE else most)
    return groups


def _solve(taught: list[TaughtClass]) -> Solution:
    """Solves the classifier, and tests each picture by a classifier that was fitted without it."""
    labels, groups = _labels(taught), _groups(taught)
    names = tuple(one.name for one in taught)
    pictures = [picture for one in taught for picture in one.pictures]
    features = np.stack([picture.features for picture in pictures]).astype(np.float32)
    views = features.shape[1]
    probe = LinearProbe(
        features.reshape(-1, features.shape[-1]),
        np.repeat(labels, views),
        len(names),
        folds=np.repeat(groups, views),
    )
    weight, bias, logits = probe.cross_validate()
    tested = np.flatnonzero(groups >= 0)
    logits, true = logits[::views][tested], labels[tested]
    temperature = 1.0
    before: tuple[CalibrationBin, ...] = ()
    files = [file for file, _ in picture_files(taught)]
    if len(tested) >= MIN_CALIBRATION_IMAGES:
        before = tuple(measure(logits, true, names, [""] * len(tested)).calibration)
        temperature = fit_temperature(logits, true)
    evaluation = None
    misfits: list[Misfit] = []
    if len(tested):
        logits = logits / temperature
        alone = len(tested) <= MAX_LEFT_OUT_ALONE
        evaluation = dataclasses.replace(
            measure(logits, true, names, [files[index] for index in tested]),
            method=LEAVE_ONE_OUT if alone else f"{int(groups.max()) + 1}-fold cross-validation",
            uncalibrated=before,
        )
        probabilities = softmax(logits)
        for row, index in enumerate(tested):
            likelier = int(probabilities[row].argmax())
            if likelier != true[row]:
                probability = float(probabilities[row, true[row]])
                misfits.append(Misfit(pictures[index], names[true[row]], names[likelier], probability))
        misfits.sort(key=lambda misfit: misfit.probability)
    untested = tuple(one.name for one in taught if len(one.pictures) == 1)
    scale = np.float32(temperature)
    return Solution(names, weight / scale, bias / scale, temperature, evaluation, tuple(misfits), untested)


def picture_files(taught: list[TaughtClass]) -> list[tuple[str, Picture]]:
    """The pictures with their names in a folder of class folders, such as "cat/0001.jpg"."""
    return [
        (f"{one.name}/{number:04}.jpg", picture)
        for one in taught
        for number, picture in enumerate(one.pictures, 1)
    ]


def write_model(lesson: Lesson, folder: pathlib.Path, repo_id: str | None = None) -> None:
    """Writes the model repository of a lesson: config, weights, detector, recipe, evaluation and model card.

    Args:
        lesson: The lesson.
        folder: The folder to write to, which is made if it does not exist.
        repo_id: The repository id that the card states; see `resnext.card.write_card`.

    Raises:
        TeachingError: Fewer than two classes have pictures.
    """
    with lesson.lock:
        solution, detector, network = lesson.solve(), lesson.detector(), lesson.network
        counts = [len(one.pictures) for one in lesson.taught()]
    if solution is None:
        raise TeachingError("Two classes need a picture first: add one to each.")
    repository = network.repository
    tensors = load_tensors(repository, load_config(repository))
    config = dataclasses.replace(network.classifier.config, label_names=solution.labels)
    name = config.architecture.classifier
    tensors |= {f"{name}.weight": solution.weight, f"{name}.bias": solution.bias}
    config.write(folder / "config.json")
    write_safetensors(tensors, folder / "model.safetensors", {"format": "pt"})
    if detector:
        detector.write(folder)
    record = _recipe(network, solution, counts)
    (folder / "recipe.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if solution.evaluation:
        dataclasses.replace(solution.evaluation, weights_sha256=weights_digest(folder)).write(folder)
        _draw_matrix(solution.evaluation, folder)
    write_card(folder, repo_id)


def _recipe(network: Network, solution: Solution, counts: list[int]) -> dict[str, Any]:
    """recipe.json: the settings of recipe `probe` for these features, and what was done with them."""
    config = network.classifier.config
    prep = config.preprocessing
    repository = network.repository
    record: dict[str, Any] = {
        "commands": [],
        "pretrained": {"name": repository.name, "revision": repository.revision},
        "recipe": {
            "model": config.name,
            "probe_passes": _MAX_PASSES_OF_PROBE,
            "epochs": 0,
            "image_size": prep.image_size,
            "mean": list(prep.mean),
            "std": list(prep.std),
            "crop_pct": prep.crop_pct,
        },
        "dataset": {"name": "pictures", "images": {"train": sum(counts)}},
        "class_images": {"train": counts},
        "versions": {
            "python": platform.python_version(),
            "resnext": resnext.__version__,
            "numpy": np.__version__,
        },
    }
    if solution.temperature != 1:
        images = sum(count for count in counts if count > 1)
        record["calibration"] = {"temperature": solution.temperature, "images": images}
    return record


def _draw_matrix(evaluation: Evaluation, folder: pathlib.Path) -> None:
    """Draws figures/heatmap.png where Matplotlib is installed, which the page does without."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    from resnext import plots

    matrix = plots.confusion_matrix(evaluation.confusion_matrix, evaluation.classes, evaluation.top1)
    plots.save_figure(matrix, folder / "figures" / "heatmap.png")


def zip_folder(folder: pathlib.Path, path: pathlib.Path) -> None:
    """Packs a folder, which is the only entry at the top of the archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent).as_posix())


def zip_pictures(lesson: Lesson, path: pathlib.Path) -> None:
    """Packs the pictures of a lesson as `resnext fit` takes them: pictures/train/CLASS/0001.jpg."""
    with lesson.lock, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file, picture in picture_files(lesson.taught()):
            archive.writestr(f"pictures/train/{file}", picture.content)
