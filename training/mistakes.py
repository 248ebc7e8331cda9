"""Small pictures of what a network got wrong, so that the page can show the images behind a cell of the confusion matrix."""

import collections
import pathlib
import re
from collections.abc import Iterable

import numpy as np
from PIL import Image

FOLDER = "mistakes"
MAX_MISTAKES = 200
LONGER_SIDE = 96  # pixels
_QUALITY = 80
_NAME = re.compile(r"[0-9]{4}\.jpg")


def choose_mistakes(predictions: list[dict]) -> list[int]:
    """Chooses at most `MAX_MISTAKES` mistakes, so that every cell of the confusion matrix has one before any has two.

    Args:
        predictions: the rows of evaluation.json.

    Returns:
        Places of rows, ascending; of a cell's mistakes those of the highest probability.
    """
    wrong = [place for place, row in enumerate(predictions) if row["true"] != row["predicted"]]
    wrong.sort(key=lambda place: -predictions[place]["probability"])
    earlier, turns = collections.Counter(), {}
    for place in wrong:
        cell = predictions[place]["true"], predictions[place]["predicted"]
        turns[place] = earlier[cell]
        earlier[cell] += 1
    wrong.sort(key=turns.__getitem__)  # keeps the order of probability within a turn
    return sorted(wrong[:MAX_MISTAKES])


def remove_pictures(repository: pathlib.Path) -> None:
    """Removes the pictures of an earlier evaluation, and the folder if nothing else is in it."""
    folder = repository / FOLDER
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if _NAME.fullmatch(path.name):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def save_pictures(images: Iterable[np.ndarray], repository: pathlib.Path) -> list[str]:
    """Saves images as JPEG files, not larger than `LONGER_SIDE`, and gives their names: mistakes/0001.jpg and so on.

    Args:
        images: (height, width, 3) uint8 RGB each.
        repository: where the folder of mistakes is made.
    """
    names = []
    for number, pixels in enumerate(images, 1):
        (repository / FOLDER).mkdir(exist_ok=True)
        picture = Image.fromarray(pixels)
        picture.thumbnail((LONGER_SIDE, LONGER_SIDE))
        names.append(f"{FOLDER}/{number:04}.jpg")
        picture.save(repository / names[-1], quality=_QUALITY, optimize=True)
    return names
