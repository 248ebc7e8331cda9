"""Formats that browsers cannot show, in headless Chromium: uploaded, previewed and classified."""

import base64
import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from resnext.classifier import Classifier
from tests.helpers.image_corpus import heic, tiff
from tests.helpers.pages import PATIENCE, bars, close_toasts, open_tab, remove_photograph, served, upload
from tests.helpers.photographs import save_image
from tests.helpers.repositories import make_repository

pytestmark = pytest.mark.browser
# Draws the preview, and returns its size and the colors of its corners.
_CORNERS = """image => {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const corner = (x, y) => [...context.getImageData(x, y, 1, 1).data.slice(0, 3)];
    return [canvas.width, canvas.height, corner(5, 5), corner(canvas.width - 6, canvas.height - 6)];
}"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return make_repository(tmp_path_factory.mktemp("models") / "flowers")


@pytest.fixture(scope="module")
def address(repository):
    with served(repository) as address:
        yield address


@pytest.fixture(scope="module")
def shared_page(browser, address):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.wait_for_function("window.pageIsOpen", timeout=4 * PATIENCE)
    yield page
    page.close()


@pytest.fixture
def page(shared_page):
    """The shared page without a photograph, with the tab that classifies open."""
    close_toasts(shared_page)
    remove_photograph(shared_page)
    return shared_page


def photograph() -> Image.Image:
    """A picture, 120 x 80, that is red at its start and blue at its end."""
    image = Image.new("RGB", (120, 80), (220, 30, 40))
    image.paste((30, 40, 220), (60, 0, 120, 80))
    return image


def encoded(form: str, **options) -> bytes:
    file = io.BytesIO()
    photograph().save(file, form, **options)
    return file.getvalue()


FILES = {
    "IMG_0001.HEIC": heic(photograph()),
    "renamed.jpg": heic(photograph()),
    "scan.tif": tiff(np.asarray(photograph()), 2),
    "scan.tiff": encoded("TIFF", compression="tiff_lzw"),
    "drawing.ppm": encoded("PPM"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_browsers_cannot_show_is_previewed_and_classified(page, repository, tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    upload(page, tmp_path / name)
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    preview = page.locator(".photograph img").first
    expect(preview).to_be_visible()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=preview.element_handle())
    width, height, first, last = preview.evaluate(_CORNERS)
    assert (width, height) == (120, 80)
    assert first[0] > 180 > 90 > first[2]
    assert last[2] > 180 > 90 > last[0]
    best = Classifier.from_pretrained(repository)(tmp_path / name, top_k=1)[0]
    expect(bars(page).first).to_contain_text(best.label)
    expect(bars(page).first).to_contain_text(f"{100 * best.probability:.0f}%")
    assert page.get_by_test_id("toast-body").count() == 0


# Drops files from elsewhere whose types the browser does not know, as those of HEIC in most browsers.
_DROP = """async ([data, name]) => {
    const content = await (await fetch(data)).blob();
    const transfer = new DataTransfer();
    transfer.items.add(new File([content], name));
    const area = document.querySelector(".photograph button");
    area.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""


def test_a_heic_is_taken_when_it_is_dropped(page):
    data = f"data:application/octet-stream;base64,{base64.b64encode(FILES['IMG_0001.HEIC']).decode()}"
    page.evaluate(_DROP, [data, "IMG_0001.HEIC"])
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)


@pytest.mark.parametrize(
    "name, kind", [("photo.jp2", "a JPEG 2000 image"), ("photo.nef", "a camera's raw file")]
)
def test_a_format_that_is_not_read_is_named(page, tmp_path, name, kind):
    (tmp_path / name).write_bytes(encoded("JPEG2000") if name == "photo.jp2" else FILES["scan.tif"])
    upload(page, tmp_path / name)
    expect(page.get_by_test_id("toast-body")).to_contain_text(
        f"{name} is {kind}, which is not supported: convert it to JPEG or PNG.", timeout=PATIENCE
    )


def test_a_zip_with_heic_has_a_row_and_a_thumbnail_for_each_file(page, tmp_path):
    photograph().save(tmp_path / "photo.jp2")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("IMG_0001.HEIC", FILES["IMG_0001.HEIC"])
        archive.writestr("scan.tif", FILES["scan.tif"])
        archive.write(save_image(tmp_path / "photograph.jpg"), "photograph.jpg")
        archive.write(tmp_path / "photo.jp2", "photo.jp2")
        archive.writestr("photo.dng", tiff(np.asarray(photograph()), 2))
    open_tab(page, "Batch")
    page.locator(".many input[type=file]").set_input_files(tmp_path / "photos.zip")
    rows = page.get_by_role("region", name="5 files, 2 of them could not be read.").locator("tbody tr")
    expect(rows).to_have_count(5, timeout=PATIENCE)
    assert rows.locator("img").count() == 3
    for index, kind in ((3, "photo.jp2 is a JPEG 2000 image"), (4, "photo.dng is a camera's raw file")):
        expect(rows.nth(index)).to_contain_text(f"{kind}, which is not supported: convert it to JPEG or PNG.")
