"""The thumbnails in a cell of the confusion matrix, from untrusted repositories."""

import io
import json
import os
import pathlib

import pytest
from PIL import Image

from resnext.page.mistakes import MAX_BYTES, MAX_PICTURES, mistakes_in
from resnext.repository import BUNDLED
from resnext.results import Evaluation


def jpeg(color="red", size=(96, 96)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "JPEG")
    return buffer.getvalue()


def evaluation(*rows):
    """An evaluation with these predictions: (file, true, predicted, probability, thumbnail)."""
    keys = ("file", "true", "predicted", "probability", "thumbnail")
    predictions = [{key: value for key, value in zip(keys, row) if value is not None} for row in rows]
    values = {
        "classes": ["ant", "bee"],
        "confusion_matrix": [[1, 1], [1, 1]],
        "per_class": [],
        "predictions": predictions,
    }
    return Evaluation.from_json(json.dumps(values))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "repository" / "mistakes").mkdir(parents=True)
    return tmp_path / "repository"


def test_pictures_of_a_cell_come_most_confident_first(folder):
    for name in ("0001", "0002", "0003"):
        (folder / "mistakes" / f"{name}.jpg").write_bytes(jpeg((int(name) * 80, 0, 0)))
    read = evaluation(
        ("test/ant/low.jpg", "ant", "bee", 0.512, "mistakes/0001.jpg"),
        ("test/ant/right.jpg", "ant", "ant", 0.99, None),
        ("test/bee/other.jpg", "bee", "ant", 0.97, "mistakes/0002.jpg"),
        ("test/ant/high.jpg", "ant", "bee", 0.9, "mistakes/0003.jpg"),
        ("test/ant/unseen.jpg", "ant", "bee", 0.7, None),
    )
    files = [(folder / "mistakes" / f"{name}.jpg").read_bytes() for name in ("0003", "0001")]
    assert mistakes_in(read, folder, "ant", "bee") == (
        [(files[0], "high.jpg", 0.9), (files[1], "low.jpg", 0.512)],
        3,
    )
    assert mistakes_in(read, folder, "bee", "ant")[1] == 1
    assert mistakes_in(read, folder, "ant", "ant") == ([], 1)
    assert mistakes_in(read, folder, "bee", "cat") == ([], 0)


def test_links_as_in_the_cache_of_the_hub_are_followed(folder):
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    (blobs / "abc123").write_bytes(jpeg())
    (folder / "mistakes" / "0001.jpg").symlink_to(pathlib.Path("..", "..", "blobs", "abc123"))
    read = evaluation(("a.jpg", "ant", "bee", 0.5, "mistakes/0001.jpg"))
    assert mistakes_in(read, folder, "ant", "bee") == ([(jpeg(), "a.jpg", 0.5)], 1)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.jpg",
        "mistakes/../../secret.jpg",
        "mistakes/..",
        "{parent}/secret.jpg",
        "secret.jpg",
        "mistakes/deep/a.jpg",
        "mistakes/a.png",
        "mistakes/a.jpg\n",
        "mistakes//a.jpg",
        "./mistakes/a.jpg",
        "mistakes/\u0000.jpg",
        "mistakes/" + "a" * 300 + ".jpg",
        "",
        7,
        True,
        ["mistakes/a.jpg"],
        {"mistakes/a.jpg": 1},
    ],
)
def test_a_name_outside_the_folder_of_mistakes_shows_nothing(name, folder):
    (folder / "mistakes" / "deep").mkdir()
    for path in (
        "../secret.jpg",
        "secret.jpg",
        "mistakes/deep/a.jpg",
        "mistakes/a.png",
        "mistakes/a.jpg",
        "mistakes/a.jpg\n",
    ):
        (folder / path).write_bytes(jpeg())
    name = name.replace("{parent}", str(folder.parent)) if isinstance(name, str) else name
    assert mistakes_in(evaluation(("a", "ant", "bee", 0.5, name)), folder, "ant", "bee") == ([], 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg onload=alert(1)>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff" + b"x" * 999,
        b" " + jpeg(),
        jpeg() + b"\0" * MAX_BYTES,
        jpeg(size=(1, 4000)),
    ],
    ids=["empty", "svg", "png", "magic only", "noise", "late", "too many bytes", "too many pixels"],
)
def test_a_file_that_is_not_a_small_jpeg_is_left_out(content, folder):
    (folder / "mistakes" / "bad.jpg").write_bytes(content)
    (folder / "mistakes" / "good.jpg").write_bytes(jpeg())
    rows = [(f"{name}.jpg", "ant", "bee", 0.5, f"mistakes/{name}.jpg") for name in ("bad", "good")]
    assert mistakes_in(evaluation(*rows), folder, "ant", "bee") == ([(jpeg(), "good.jpg", 0.5)], 2)


def test_what_is_not_a_regular_file_is_left_out(folder):
    (folder / "mistakes" / "folder.jpg").mkdir()
    os.mkfifo(folder / "mistakes" / "pipe.jpg")
    (folder / "mistakes" / "link.jpg").symlink_to("nowhere")
    (folder / "mistakes" / "loop.jpg").symlink_to("loop.jpg")
    rows = [
        ("x", "ant", "bee", 0.5, f"mistakes/{name}.jpg")
        for name in ("folder", "pipe", "link", "loop", "missing")
    ]
    assert mistakes_in(evaluation(*rows), folder, "ant", "bee") == ([], 5)


def test_the_number_of_pictures_of_a_cell_is_limited(folder):
    (folder / "mistakes" / "0001.jpg").write_bytes(jpeg())
    rows = [("x", "ant", "bee", 0.5, "mistakes/0001.jpg")] * 1000
    pictures, count = mistakes_in(evaluation(*rows), folder, "ant", "bee")
    assert (len(pictures), count) == (MAX_PICTURES, 1000)


def test_the_bundled_model_shows_every_mistake_of_every_cell():
    read = Evaluation.from_json((BUNDLED["flowers"] / "evaluation.json").read_text("utf-8"))
    for row, true in enumerate(read.classes):
        for column, predicted in enumerate(read.classes):
            pictures, count = mistakes_in(read, BUNDLED["flowers"], true, predicted)
            assert count == read.confusion_matrix[row, column]
            assert len(pictures) == (count if true != predicted else 0)
