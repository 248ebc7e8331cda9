import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from resnext.classifier import Classifier
from resnext.errors import ImageError
from resnext.image_formats import FORMATS, SUFFIXES, register_heif
from resnext.stream import LeftOut, image_files, infer_images
from tests.helpers.image_corpus import colors, heic, tiff

ROOT = pathlib.Path(__file__).parents[2]


def save_photograph(file, seed, size=(80, 60)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)).save(file)
    return file


@pytest.fixture
def photographs(tmp_path):
    return [save_photograph(tmp_path / "photographs" / f"{index:02}.png", index) for index in range(40)]


@pytest.fixture
def classifier(tiny_repository):
    return Classifier.from_pretrained(tiny_repository, precision="float32")


@pytest.mark.parametrize("count", [3, 16, 40])  # few are answered one after another
def test_many_images_give_the_outputs_of_each_alone_in_order(classifier, photographs, count):
    save_photograph(photographs[1], 1, (1000, 750))  # is ready long after those behind it
    found = list(infer_images(classifier, photographs[:count]))
    assert [image for image, _ in found] == photographs[:count]
    for image, output in found:
        alone = classifier.infer(image)
        np.testing.assert_allclose(output.logits, alone.logits, rtol=0, atol=1e-6)
        np.testing.assert_allclose(output.probabilities, alone.probabilities, rtol=0, atol=1e-6)
        np.testing.assert_allclose(output.features, alone.features, rtol=0, atol=1e-5)


def test_bytes_and_opened_images_give_the_same_output(classifier, photographs):
    sources = [source for file in photographs[:10] for source in (file, file.read_bytes(), Image.open(file))]
    of_three = [output.logits for _, output in infer_images(classifier, sources)]
    for path, content, opened in zip(of_three[::3], of_three[1::3], of_three[2::3], strict=True):
        np.testing.assert_array_equal(path, content)
        np.testing.assert_array_equal(path, opened)


@pytest.mark.parametrize("bad", [range(0, 40, 3), range(2, 40), range(39), range(40)])
def test_a_bad_file_is_an_error_row_among_the_others(classifier, photographs, bad):
    for index in bad:
        photographs[index].write_text("not an image")
    found = list(infer_images(classifier, photographs))
    assert [image for image, _ in found] == photographs
    assert [index for index, (_, output) in enumerate(found) if isinstance(output, ImageError)] == list(bad)
    for index in bad:
        assert photographs[index].name in str(found[index][1])


def test_a_runtime_without_async_requests_gives_the_same_rows(classifier, photographs, monkeypatch):
    photographs[20].write_text("not an image")
    expected = list(infer_images(classifier, photographs))
    monkeypatch.setattr(classifier, "throughput_model", lambda: None)
    for (image, output), (expected_image, expected_output) in zip(
        infer_images(classifier, photographs), expected, strict=True
    ):
        assert image == expected_image
        if image == photographs[20]:
            assert isinstance(output, ImageError)
        else:
            np.testing.assert_allclose(output.logits, expected_output.logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bad", [False, True])
def test_only_a_bounded_number_of_images_is_read_ahead(classifier, photographs, bad):
    read = 0

    def many():
        nonlocal read
        for read in range(1, 2000):
            yield b"not an image" if bad and read > 1 else photographs[read % 40]

    in_flight = 2 * classifier.throughput_model().get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    stream = infer_images(classifier, many())
    for taken, _ in enumerate(itertools.islice(stream, 300), 1):
        assert read <= taken + in_flight + 65
    stream.close()


def test_a_folder_gives_the_images_in_and_below_it_in_order(tmp_path):
    names = ["b.JPG", "a.webp", "sub/z.png", "sub/deep/c.tiff", "another/d.gif"]
    others = [
        ".hidden.jpg",
        "@eaDir/a.jpg/thumbnail.jpg",
        "Thumbs.db",
        "notes.txt",
        "archive.zip",
        "sub/.git/e.jpg",
        "noext",
    ]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "round").symlink_to(tmp_path)
    expected = ["a.webp", "b.JPG", "another/d.gif", "sub/z.png", "sub/deep/c.tiff"]
    assert list(image_files([tmp_path])) == [tmp_path / name for name in expected]
    named = [tmp_path / "notes.txt", tmp_path / "sub", tmp_path / "missing.jpg", tmp_path / ("x" * 300)]
    assert list(image_files(named)) == [
        named[0],
        tmp_path / "sub/z.png",
        tmp_path / "sub/deep/c.tiff",
        *named[2:],
    ]


def test_pipes_in_a_folder_are_left_out_and_not_opened(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe.png")
    left_out = LeftOut()
    assert [file.name for file in image_files([tmp_path], left_out)] == ["a.jpg", "broken.jpg"]
    assert str(left_out) == f"left out 1 file that is not an image: {tmp_path / 'pipe.png'}"


def test_a_pipe_that_is_named_is_refused_and_not_opened(tmp_path, classifier):
    """Nothing writes to it, so opening it would block forever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    ((_, output),) = infer_images(classifier, image_files([tmp_path / "pipe.jpg"]))
    assert str(output).endswith(
        "pipe.jpg is not a regular file but a pipe, a socket or a device: save the image first."
    )


def test_what_a_folder_has_beside_images_is_counted_and_named(tmp_path):
    for name in ("a.jpg", "b.nef", "c.jp2", "d.txt", "e.mov", "f", "sub/g.xml", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    left_out = LeftOut()
    assert [file.name for file in image_files([tmp_path], left_out)] == ["a.jpg", "b.nef", "c.jp2"]
    names = ", ".join(str(tmp_path / name) for name in ("d.txt", "e.mov", "f"))
    assert str(left_out) == f"left out 4 files that are not images: {names} and 1 more"


def test_a_folder_without_images_is_an_error_row(tmp_path, classifier):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    (image, output), (_, too_long) = infer_images(
        classifier, image_files([tmp_path / "empty", tmp_path / ("x" * 300)])
    )
    assert image == tmp_path / "empty"
    assert "empty is a folder that holds no images" in str(output)
    assert isinstance(too_long, ImageError)


def test_suffixes_are_those_of_the_formats_that_are_read():
    register_heif()
    assert {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS} == SUFFIXES


def start_classify(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "resnext", "classify", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # whatever started the tests may ignore it
    )


def test_a_folder_on_the_command_line_is_one_json_object_a_line(photographs, classifier, tiny_repository):
    folder = photographs[0].parent
    (folder / "notes.txt").write_text("not asked for")
    photographs[7].write_text("not an image")
    iphone, raw = folder / "IMG_0001.HEIC", folder / "photo.nef"
    iphone.write_bytes(heic(colors()))
    raw.write_bytes(tiff(colors(), 2))
    process = start_classify(
        "--json", folder, "--model", tiny_repository, "--precision", "float32", "--top-k", 2
    )
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines() == [
        f"python -m resnext: left out 1 file that is not an image: {folder / 'notes.txt'}.",
        "python -m resnext: 2 of 42 files could not be classified.",
    ]
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["file"] for line in lines] == [str(file) for file in (*photographs, iphone, raw)]
    fault = "is a camera's raw file, which is not supported: convert it to JPEG or PNG."
    assert lines.pop() == {"file": str(raw), "error": f"{raw} {fault}"}
    assert set(lines.pop(7)) == {"file", "error"}
    for line in lines:
        assert [row["label"] for row in line["predictions"]] == [
            label for label, _ in classifier(line["file"], 2)
        ]


@pytest.fixture
def unread(photographs, tiny_repository):
    """A classification of more than a pipe holds (64 KiB), of which one line has been read."""
    process = start_classify("--json", *photographs * 15, "--model", tiny_repository)
    assert json.loads(process.stdout.readline())["file"] == str(photographs[0])
    with process:
        yield process
        process.kill()


def test_a_closed_pipe_ends_the_command_quietly(unread):
    unread.stdout.close()
    assert unread.stderr.read() == ""
    assert unread.wait(timeout=60) == 0


def test_ctrl_c_ends_the_command_quietly(unread):
    os.kill(unread.pid, signal.SIGINT)
    errors = unread.communicate(timeout=60)[1]
    assert errors == ""
    assert unread.returncode == 130
