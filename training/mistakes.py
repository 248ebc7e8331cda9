"""Thumbnails of misclassified test images, for the page to show behind a cell of the confusion matrix."""

import collections
import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from resnext.results import ImagePrediction

FOLDER = "mistakes"
MAX_MISTAKES = 200
MAX_SIDE = 96  # pixels
_QUALITY = 80
_NAME = re.compile(r"[0-9]{4}\.jpg")


def choose_mistakes(predictions: Sequence[ImagePrediction]) -> list[int]:
    """Chooses up to `MAX_MISTAKES` mistakes, spread over the cells of the confusion matrix.

    Every cell gets its first mistake before any cell gets its second. Within a cell, the mistakes of the
    highest probability come first.

    Args:
        predictions: The predictions for the test images.

    Returns:
        Indices into `predictions`, in ascending order.
    """
    wrong = [index for index, row in enumerate(predictions) if row.true != row.predicted]
    wrong.sort(key=lambda index: -predictions[index].probability)
    seen = collections.Counter()
    rank_in_cell = {}
    for index in wrong:
        cell = predictions[index].true, predictions[index].predicted
        rank_in_cell[index] = seen[cell]
        seen[cell] += 1
    wrong.sort(key=rank_in_cell.__getitem__)  # stable: the order of probability stays within a rank
    return sorted(wrong[:MAX_MISTAKES])


def remove_thumbnails(repository: pathlib.Path) -> None:
    """Removes the thumbnails of an earlier evaluation, and their folder if nothing else is in it.

    Args:
        repository: The model repository.
    """
    folder = repository / FOLDER
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if _NAME.fullmatch(path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def save_thumbnails(images: Iterable[np.ndarray], repository: pathlib.Path) -> list[str]:
    """Saves images as small JPEG files, `MAX_SIDE` pixels wide and high at most.

    Args:
        images: The images, each (height, width, 3) uint8 RGB.
        repository: The model repository.

    Returns:
        The file names in the repository: mistakes/0001.jpg, mistakes/0002.jpg and so on.
    """
    names = []
    for number, pixels in enumerate(images, 1):
        (repository / FOLDER).mkdir(exist_ok=True)
        thumbnail = Image.fromarray(pixels)
        thumbnail.thumbnail((MAX_SIDE, MAX_SIDE))
        names.append(f"{FOLDER}/{number:04}.jpg")
        thumbnail.save(repository / names[-1], quality=_QUALITY, optimize=True)
    return names
