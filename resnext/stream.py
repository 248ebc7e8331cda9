"""Many images: decoded in parallel, classified asynchronously, answered in their order, a few dozen in memory at a time."""

import collections
import concurrent.futures
import itertools
import os
import pathlib
import typing
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from resnext.classifier import Classifier
from resnext.config import Preprocessing
from resnext.errors import ImageError
from resnext.preprocessing import load_pixels
from resnext.runtimes import Output

if typing.TYPE_CHECKING:
    import openvino

Source = typing.TypeVar("Source", str, os.PathLike, bytes, Image.Image)

# Of `resnext.preprocessing.FORMATS`.
SUFFIXES = frozenset(
    [
        ".apng",
        ".avif",
        ".avifs",
        ".bmp",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
_FEW = 16  # images that are answered before the network would be compiled anew for many
_AHEAD = 64  # images at most that are decoded before their turn; one that is slow to decode seldom keeps the network waiting


def image_files(paths: Iterable[pathlib.Path]) -> Iterator[pathlib.Path]:
    """Image files, one folder's names in memory at a time.

    Args:
        paths: files, which are taken whatever their names, and folders.

    Yields:
        The files; for a folder, the files in and below it with an image's suffix, sorted, each folder's own before those
        of its folders. Hidden files and folders are left out, and links to folders are not followed. A folder that has
        no images or cannot be listed is given itself.
    """
    for path in paths:
        if not os.path.isdir(path):  # unlike `path.is_dir()`, no error for a name that is too long
            yield path
            continue
        found, unlisted = False, []
        for folder, folders, names in os.walk(
            path, onerror=lambda error: unlisted.append(pathlib.Path(error.filename))
        ):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                    found = True
                    yield pathlib.Path(folder, name)
        yield from unlisted if found or unlisted else [path]


def infer_images(
    classifier: Classifier, images: Iterable[Source]
) -> Iterator[tuple[Source, Output | ImageError]]:
    """Classifies many images at the network's full rate.

    Args:
        classifier: the network.
        images: whatever `open_image` takes; read as they are needed.

    Yields:
        Each image with its answer, or with what is wrong with it; in the order of the images.

    Raises:
        WeightsError: an answer is no number.
    """
    images = iter(images)
    first = list(itertools.islice(images, _FEW))
    model = classifier.throughput_model() if len(first) == _FEW else None
    decoded = _decode(itertools.chain(first, images), classifier.config.preprocessing)
    if model:
        yield from _run_asynchronously(model, decoded)
    else:
        for image, pixels in decoded:
            yield image, pixels if isinstance(pixels, ImageError) else classifier.run(pixels)


def _decode(
    images: Iterable[Source], preprocessing: Preprocessing
) -> Iterator[tuple[Source, np.ndarray | ImageError]]:
    """What the network sees of each image, decoded by as many threads as there are cores (Pillow works without Python's lock)."""
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    begun = collections.deque()

    def oldest():
        image, pixels = begun.popleft()
        return image, pixels.result()

    try:
        for image in images:
            if len(begun) == _AHEAD:
                yield oldest()
            begun.append((image, pool.submit(_pixels, image, preprocessing)))
        while begun:
            yield oldest()
    finally:
        pool.shutdown(cancel_futures=True)


def _pixels(image: Source, preprocessing: Preprocessing) -> np.ndarray | ImageError:
    if isinstance(image, pathlib.Path) and os.path.isdir(image):
        return ImageError(
            f"{image} is a folder that holds no images or cannot be listed: name one with .jpg or other image files."
        )
    try:
        return load_pixels(image, preprocessing)
    except ImageError as error:
        return error


def _run_asynchronously(
    model: "openvino.CompiledModel", decoded: Iterable[tuple[Source, np.ndarray | ImageError]]
) -> Iterator[tuple[Source, Output | ImageError]]:
    # Not OpenVINO's AsyncInferQueue: it calls back into Python on OpenVINO's own thread, and when Python happens to collect
    # garbage there that holds another request, that thread waits for itself for ever.
    most = 2 * model.get_property(
        "OPTIMAL_NUMBER_OF_INFER_REQUESTS"
    )  # as many wait as run, so that no core does
    idle, begun = [model.create_infer_request() for _ in range(most)], collections.deque()

    def oldest():
        image, request = begun.popleft()
        if isinstance(request, ImageError):
            return image, request
        request.wait()
        answer = Output(*(request.get_tensor(name).data[0].copy() for name in Output._fields)).checked()
        idle.append(request)
        return image, answer

    for image, pixels in decoded:
        if len(begun) == most:
            yield oldest()
        if isinstance(pixels, ImageError):
            begun.append((image, pixels))
        else:
            request = idle.pop()
            request.start_async({"images": pixels[None]})
            begun.append((image, request))
    while begun:
        yield oldest()
