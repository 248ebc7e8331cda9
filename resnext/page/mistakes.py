"""The pictures behind a cell of the confusion matrix: small files of a repository, untrusted and checked here."""

import io
import pathlib
import re
from typing import Any

from PIL import Image

MAX_PICTURES = 200  # of one cell; a file may name as many as it likes
MAX_BYTES = 50_000
LONGEST_SIDE = (
    1024  # a small file may claim 65,535 x 65,535 pixels, and a visitor's browser would have to decode them
)
_NAME = re.compile(r"mistakes/[\w.-]+\.jpg", re.ASCII)  # neither absolute nor able to climb out of its folder
_JPEG = b"\xff\xd8\xff"


def mistakes_in(
    evaluation: dict[str, Any], folder: pathlib.Path, true: str, predicted: str
) -> tuple[list[tuple[bytes, str, float]], int]:
    """The test images of one class that the network took for another.

    Args:
        evaluation: as `records.parse_evaluation` gives it.
        folder: the model repository. The Hub's files may be links to elsewhere, so links are followed.
        true: name of the row.
        predicted: name of the column.

    Returns:
        The pictures that the repository holds, most confident first, each a JPEG file, the image's name (plain text, not
        escaped) and the probability of `predicted`; and how many images the cell has in all.
    """
    cell = cell_of(evaluation, true, predicted)
    named = [row for row in cell if _is_name(row[4])]
    pictures = [
        (content, pathlib.PurePosixPath(file).name, probability)
        for file, _, _, probability, thumbnail in named[:MAX_PICTURES]
        if (content := picture(folder, thumbnail)) is not None
    ]
    return pictures, len(cell)


def cell_of(evaluation: dict[str, Any], true: str, predicted: str) -> list[tuple]:
    """The predictions of one cell of the confusion matrix, most confident first."""
    return sorted(
        (row for row in evaluation["predictions"] if row[1:3] == (true, predicted)), key=lambda row: -row[3]
    )


def picture(folder: pathlib.Path, name: Any) -> bytes | None:
    """A JPEG file that a prediction names as its thumbnail, if there is a small one of that name where thumbnails are."""
    return _read_jpeg(folder / name) if _is_name(name) else None


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _read_jpeg(path: pathlib.Path) -> bytes | None:
    try:
        if not path.is_file():  # opening a pipe would wait forever
            return None
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES or not content.startswith(_JPEG):
            return None
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:  # reads the header only
            return content if max(image.size) <= LONGEST_SIDE else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
