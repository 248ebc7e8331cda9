"""Previews of uploads that browsers cannot show, served in place of the files to those who ask for images."""

import io
import pathlib

import httpx
import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from resnext.page import previews
from tests.helpers.image_corpus import colors, heic, tiff
from tests.helpers.pages import served
from tests.helpers.repositories import make_repository

BROWSER = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served(make_repository(tmp_path_factory.mktemp("models") / "flowers")) as address:
        yield address


@pytest.fixture
def uploaded(tmp_path_factory):
    """Writes a file to the folder of uploads, from which Gradio serves."""
    folder = pathlib.Path(get_upload_folder(), "test-previews")
    folder.mkdir(parents=True, exist_ok=True)

    def uploaded(name, content):
        (folder / name).write_bytes(content)
        return folder / name

    yield uploaded
    for file in folder.iterdir():
        file.unlink()


def get(address, path, headers):
    return httpx.get(f"{address}gradio_api/file={path}", headers=headers, trust_env=False)


def encoded(form, size=(48, 32)):
    file = io.BytesIO()
    Image.fromarray(colors()).resize(size).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg", "photo.tif", "photo.ppm"])
def test_an_image_element_gets_a_jpeg_and_a_program_gets_the_file(address, uploaded, name):
    content = {"photo.tif": tiff(colors(), 2), "photo.ppm": encoded("PPM")}.get(name, heic(colors()))
    path = uploaded(name, content)
    shown = get(address, path, BROWSER)
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.headers["vary"] == "Accept"
    with Image.open(io.BytesIO(shown.content)) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image, float) - colors()).mean() < 4
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "text/html,application/xhtml+xml,image/avif"}):
        assert get(address, path, headers).content == content


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
def test_what_browsers_show_is_served_as_it_is(address, uploaded, form):
    content = encoded(form)
    assert get(address, uploaded(f"photo.{form.lower()}", content), BROWSER).content == content


def test_a_damaged_file_is_served_as_it_is(address, uploaded):
    content = heic(colors())[:500]
    assert get(address, uploaded("photo.heic", content), BROWSER).content == content


def test_no_preview_is_made_of_a_file_that_may_not_be_had(address, tmp_path):
    (tmp_path / "photo.heic").write_bytes(heic(colors()))
    # pytest's folder is not one that the page serves from.
    for path in (tmp_path / "photo.heic", tmp_path / "none.heic"):
        assert get(address, path, BROWSER).status_code == 403


def test_a_preview_is_small_and_follows_its_file(uploaded):
    path = uploaded("photo.ppm", encoded("PPM", (4000, 20)))
    with Image.open(io.BytesIO(previews.preview_of(path))) as image:
        assert image.size == (previews.MAX_SIDE, 8)
    uploaded("photo.ppm", encoded("PPM"))
    with Image.open(io.BytesIO(previews.preview_of(path))) as image:
        assert image.size == (48, 32)
    assert previews.preview_of(path.with_name("missing.ppm")) is None
