"""The thumbnails in a cell of the confusion matrix: small untrusted files of a repository, checked here."""

import io
import pathlib
import re
from typing import Any

from PIL import Image

from resnext.results import Evaluation, ImagePrediction

# Thumbnails of one cell that are shown; a repository may list any number.
MAX_PICTURES = 200
MAX_BYTES = 50_000
# A small file may claim 65,535 x 65,535 pixels, and a visitor's browser would have to decode them.
MAX_SIDE = 1024
# Neither absolute nor able to leave its folder.
_NAME = re.compile(r"mistakes/[\w.-]+\.jpg", re.ASCII)
_JPEG = b"\xff\xd8\xff"


def mistakes_in(
    evaluation: Evaluation, folder: pathlib.Path, true: str, predicted: str
) -> tuple[list[tuple[bytes, str, float]], int]:
    """The test images of one class that were predicted as another.

    Args:
        evaluation: The test.
        folder: The model repository. Files from the Hub may be links, so links are followed.
        true: The name of the true class.
        predicted: The name of the predicted class.

    Returns:
        The thumbnails that the repository has, most confident first, each a JPEG file, the name of the image
        (plain text) and the probability of the predicted class; and the number of images in the cell.
    """
    predictions = predictions_in(evaluation, true, predicted)
    named = [prediction for prediction in predictions if _is_name(prediction.thumbnail)]
    pictures = [
        (content, pathlib.PurePosixPath(prediction.file).name, prediction.probability)
        for prediction in named[:MAX_PICTURES]
        if (content := thumbnail(folder, prediction.thumbnail)) is not None
    ]
    return pictures, len(predictions)


def predictions_in(evaluation: Evaluation, true: str, predicted: str) -> list[ImagePrediction]:
    """The predictions in one cell of the confusion matrix, most confident first."""
    inside = [row for row in evaluation.predictions if (row.true, row.predicted) == (true, predicted)]
    return sorted(inside, key=lambda prediction: -prediction.probability)


def thumbnail(folder: pathlib.Path, name: Any) -> bytes | None:
    """The content of a small JPEG file in the folder `mistakes` of a repository; None if it is not one."""
    return _read_jpeg(folder / name) if _is_name(name) else None


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _read_jpeg(path: pathlib.Path) -> bytes | None:
    try:
        # Opening a named pipe would block forever.
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES or not content.startswith(_JPEG):
            return None
        # Reads the header only.
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            return content if max(image.size) <= MAX_SIDE else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
