"""Classifies many images: decoded in parallel, run asynchronously, in order, a few dozen in memory."""

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import typing
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

from resnext.classifier import Classifier
from resnext.config import Preprocessing
from resnext.errors import ImageError, printable
from resnext.image_formats import SUFFIXES, UNSUPPORTED_SUFFIXES, is_hidden, is_irregular
from resnext.preprocessing import load_pixels
from resnext.runtimes import Output

if typing.TYPE_CHECKING:
    import openvino

Source = typing.TypeVar("Source", bound=str | os.PathLike | bytes | Image.Image)

Seen = typing.TypeVar("Seen")  # what is computed from an image's pixels while others are decoded
Key = typing.TypeVar("Key")  # what stands for an image while the network runs

_IMAGE_SUFFIXES = SUFFIXES | UNSUPPORTED_SUFFIXES.keys()
# The files that are left out which a message names.
_MAX_EXAMPLES = 3
# From this number of images on, compiling the network a second time, for throughput, pays.
_MIN_FOR_THROUGHPUT = 16
# The largest number of images that are decoded ahead of their turn. With so many, one that is slow to decode
# seldom keeps the network waiting.
_MAX_AHEAD = 64


@dataclasses.dataclass
class LeftOut:
    """The files of folders that are not images by their names.

    Args:
        count: How many there are.
        examples: The first few.
    """

    count: int = 0
    examples: list[pathlib.Path] = dataclasses.field(default_factory=list)

    def add(self, path: pathlib.Path) -> None:
        """Counts a file."""
        self.count += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(path)

    def __str__(self) -> str:
        names = ", ".join(printable(str(path)) for path in self.examples)
        more = f" and {self.count - len(self.examples)} more" if self.count > len(self.examples) else ""
        what = "1 file that is not an image" if self.count == 1 else f"{self.count} files that are not images"
        return f"left out {what}: {names}{more}"


def image_files(paths: Iterable[pathlib.Path], left_out: LeftOut | None = None) -> Iterator[pathlib.Path]:
    """Lists image files, with one folder's names in memory at a time.

    Args:
        paths: Files, which are taken whatever their names, and folders.
        left_out: Gets the files of folders that are not yielded, but hidden ones.

    Yields:
        The files. For a folder, these are the files in and below it with an image's suffix, sorted, each
        folder's own files before those of its subfolders. Images in formats that are not supported are among
        them: whoever reads them says so. Hidden files and folders are left out, and links to folders are not
        followed. A folder without images, or that cannot be listed, is yielded itself.
    """
    for path in paths:
        # False, not an error as `path.is_dir()` raises, for a name that is too long.
        if os.path.isdir(path):
            yield from _files_below(path, left_out or LeftOut())
        else:
            yield path


def _files_below(path: pathlib.Path, left_out: LeftOut) -> Iterator[pathlib.Path]:
    found = False
    unlisted: list[pathlib.Path] = []

    def keep(error: OSError) -> None:
        unlisted.append(pathlib.Path(error.filename))

    for folder, subfolders, names in os.walk(path, onerror=keep):
        subfolders[:] = sorted(name for name in subfolders if not is_hidden(name))
        for name in sorted(name for name in names if not is_hidden(name)):
            file = pathlib.Path(folder, name)
            if file.suffix.lower() in _IMAGE_SUFFIXES and not is_irregular(file):
                found = True
                yield file
            else:
                left_out.add(file)
    yield from unlisted if found or unlisted else [path]


def classify_images(
    classifier: Classifier, images: Iterable[Source]
) -> Iterator[tuple[Source, Output | ImageError, bool | None]]:
    """Classifies many images at the full rate, and tells which look like none of the classes.

    Args:
        classifier: The network.
        images: Images of any kind that `open_image` takes, which are read as they are needed.

    Yields:
        Each image with the network's output, or with the error of an image that cannot be decoded, and
        whether it looks like none of the classes (`Classifier.is_unknown`), in the order of the images.

    Raises:
        WeightsError: An output is NaN or infinite.
    """
    for (image, unknown), output in _infer(classifier, images, classifier.is_unknown):
        yield image, output, unknown


def infer_images(
    classifier: Classifier, images: Iterable[Source], *, mirrored: bool = False
) -> Iterator[tuple[Source, Output | ImageError]]:
    """Runs the network on many images at its full rate.

    Args:
        classifier: The network.
        images: Images of any kind that `open_image` takes, which are read as they are needed.
        mirrored: Whether the mirror image of each image follows it.

    Yields:
        Each image with the network's output, or with the error of an image that cannot be decoded, in the
        order of the images.

    Raises:
        WeightsError: An output is NaN or infinite.
    """
    for (image, _), output in _infer(classifier, images, lambda pixels: None, mirrored):
        yield image, output


def _infer(
    classifier: Classifier,
    images: Iterable[Source],
    look: Callable[[np.ndarray], Seen],
    mirrored: bool = False,
) -> Iterator[tuple[tuple[Source, Seen | None], Output | ImageError]]:
    """Yields each image, what `look` returns for its pixels, and the network's output."""
    images = iter(images)
    first = list(itertools.islice(images, _MIN_FOR_THROUGHPUT))
    model = classifier.throughput_model() if len(first) == _MIN_FOR_THROUGHPUT else None
    decoded = _decode(itertools.chain(first, images), classifier.config.preprocessing, look)
    if mirrored:
        decoded = _with_mirror_images(decoded)
    if model:
        yield from _run_asynchronously(model, decoded)
        return
    for image, pixels in decoded:
        yield image, pixels if isinstance(pixels, ImageError) else classifier.run(pixels)


def _with_mirror_images(
    decoded: Iterable[tuple[Key, np.ndarray | ImageError]],
) -> Iterator[tuple[Key, np.ndarray | ImageError]]:
    for image, pixels in decoded:
        yield image, pixels
        yield image, pixels if isinstance(pixels, ImageError) else np.ascontiguousarray(pixels[:, ::-1])


def _decode(
    images: Iterable[Source], preprocessing: Preprocessing, look: Callable[[np.ndarray], Seen]
) -> Iterator[tuple[tuple[Source, Seen | None], np.ndarray | ImageError]]:
    """Decodes images by as many threads as there are cores. Pillow releases Python's lock meanwhile."""
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    pending: collections.deque[tuple[Source, concurrent.futures.Future]] = collections.deque()

    def finish_oldest():
        image, result = pending.popleft()
        pixels, seen = result.result()
        return (image, seen), pixels

    try:
        for image in images:
            if len(pending) == _MAX_AHEAD:
                yield finish_oldest()
            pending.append((image, pool.submit(_prepare, image, preprocessing, look)))
        while pending:
            yield finish_oldest()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(
    image: Source, preprocessing: Preprocessing, look: Callable[[np.ndarray], Seen]
) -> tuple[np.ndarray | ImageError, Seen | None]:
    """The pixels of an image, or why there are none, and what `look` returns for them."""
    if isinstance(image, pathlib.Path) and os.path.isdir(image):
        error = ImageError(
            f"{image} is a folder that holds no images or cannot be listed: "
            "name one with .jpg or other image files."
        )
        return error, None
    try:
        pixels = load_pixels(image, preprocessing)
    except ImageError as error:
        return error, None
    return pixels, look(pixels)


def _run_asynchronously(
    model: "openvino.CompiledModel", decoded: Iterable[tuple[Key, np.ndarray | ImageError]]
) -> Iterator[tuple[Key, Output | ImageError]]:
    # Not with OpenVINO's AsyncInferQueue, which calls back into Python on OpenVINO's own thread. If Python
    # collects garbage there that holds another request, that thread waits for itself forever.
    # As many requests wait as run, so that no core does.
    count = 2 * model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    idle = [model.create_infer_request() for _ in range(count)]
    pending: collections.deque[tuple[Key, openvino.InferRequest | ImageError]] = collections.deque()

    def finish_oldest():
        image, request = pending.popleft()
        if isinstance(request, ImageError):
            return image, request
        request.wait()
        arrays = (request.get_tensor(name).data[0].copy() for name in Output._fields)
        output = Output(*arrays).checked()
        idle.append(request)
        return image, output

    for image, pixels in decoded:
        if len(pending) == count:
            yield finish_oldest()
        if isinstance(pixels, ImageError):
            pending.append((image, pixels))
        else:
            request = idle.pop()
            request.start_async({"images": pixels[None]})
            pending.append((image, request))
    while pending:
        yield finish_oldest()
