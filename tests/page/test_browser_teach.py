"""Teaching in headless Chromium: two classes from files, a trial, and the model opened in a second page."""

import zipfile

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.helpers.pages import PATIENCE, bars, served
from tests.helpers.teaching import COLORS, name_and_fill, painting

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address():
    with served("flowers (bundled)") as address:
        yield address


@pytest.fixture
def visit(browser, address):
    """Opens the tab in a new page. No page may ask another server for anything."""
    pages, foreign = [], []

    def visit(width: int = 1280, locale: str = "en-US", theme: str = "light"):
        page = browser.new_page(
            viewport={"width": width, "height": 900}, locale=locale, color_scheme=theme, has_touch=width < 600
        )
        page.set_default_timeout(PATIENCE)
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "blob:", "data:")) or foreign.append(request.url)
            ),
        )
        page.goto(f"{address}?tab=teach", timeout=4 * PATIENCE)
        expect(page.locator(".taught")).to_have_count(2, timeout=4 * PATIENCE)
        pages.append(page)
        return page

    yield visit
    for page in pages:
        page.close()
    assert not foreign


def leave_and_return(page) -> None:
    page.get_by_role("tab", name="Classify").click()
    expect(page.locator(".taught").first).to_be_hidden()
    page.get_by_role("tab", name="Teach").click()
    expect(page.locator(".taught").first).to_be_visible()


def serious_faults(page) -> list:
    return [
        (fault["id"], [node["html"] for node in fault["nodes"]])
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def test_two_classes_are_taught_tried_and_opened_in_a_second_page(visit, browser, tmp_path):
    page = visit()
    for place, color in enumerate(COLORS):
        name_and_fill(page, place, color)
    expect(page.get_by_role("status").filter(has_text="6 of 6 pictures")).to_be_visible()
    expect(page.get_by_role("region", name="Confusion matrix").locator("tbody tr")).to_have_count(2)
    page.locator(".tried input[type=file]").first.set_input_files(painting("Green", 70))
    expect(bars(page)).to_have_count(2, timeout=2 * PATIENCE)
    expect(bars(page).first).to_contain_text("Green")
    expect(page.locator(".answer")).to_contain_text("Green")
    assert not serious_faults(page)

    page.get_by_role("radio", name="Camera").check()
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_label("capture photo").click()
    expect(bars(page)).to_have_count(2, timeout=2 * PATIENCE)
    leave_and_return(page)
    expect(page.get_by_role("radio", name="Photograph")).to_be_checked(timeout=PATIENCE)
    expect(page.locator("video")).to_have_count(0, timeout=PATIENCE)

    other = visit()
    expect(other.locator(".taught li")).to_have_count(0)
    expect(other.locator(".taught input[type=text]").first).to_have_value("Class 1")

    page.get_by_label("Name of the model").fill("colors")
    with page.expect_download(timeout=2 * PATIENCE) as download:
        page.get_by_role("button", name="Download model").click()
    zipfile.ZipFile(download.value.path()).extractall(tmp_path)
    with served(tmp_path / "colors") as second:
        opened = browser.new_page(locale="en-US")
        opened.goto(second)
        expect(opened.get_by_role("heading", level=1)).to_have_text("colors", timeout=PATIENCE)
        opened.locator("input[type=file]").first.set_input_files(painting("Red", 71))
        expect(bars(opened).first).to_contain_text("Red", timeout=PATIENCE)
        opened.get_by_role("tab", name="Test").click()
        expect(opened.get_by_text("There was no test set")).to_be_visible(timeout=PATIENCE)
        opened.close()


def test_pictures_and_classes_are_removed_from_the_keyboard(visit):
    page = visit()
    name_and_fill(page, 0, "Red", 2)
    page.get_by_role("button", name="Remove picture 1 of Red").press("Enter")
    expect(page.locator(".taught li")).to_have_count(1, timeout=PATIENCE)
    page.get_by_role("button", name="Add a class").press("Enter")
    expect(page.locator(".taught")).to_have_count(3, timeout=PATIENCE)
    expect(page.get_by_role("button", name="Add a class")).to_be_focused()
    page.locator(".taught input[type=text]").nth(2).fill("Red")
    page.locator(".taught input[type=text]").nth(2).press("Enter")
    expect(page.get_by_role("alert").filter(has_text="There is a class Red already")).to_be_visible()
    page.get_by_role("button", name="Remove the class Red").press("Enter")
    expect(page.locator(".taught")).to_have_count(2, timeout=PATIENCE)


def test_a_phone_in_chinese_and_dark_needs_no_sideways_scrolling(visit):
    page = visit(390, "zh-CN", "dark")
    expect(page.get_by_role("button", name="添加图片: 类别 1")).to_be_visible(timeout=PATIENCE)
    for place, color in enumerate(COLORS):
        name_and_fill(page, place, color, 2, name="W" * 60 if place else "")
    expect(page.get_by_text("留一法准确率")).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not serious_faults(page)


def test_the_camera_adds_pictures_while_it_records(visit):
    page = visit()
    page.get_by_role("button", name="Camera: Class 1").click()
    record = page.get_by_role("button", name="Record")
    expect(record).to_be_focused(timeout=PATIENCE)
    record.click()
    expect(page.locator(".taught li").nth(1)).to_be_visible(timeout=2 * PATIENCE)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".camera")).to_have_count(0)
    page.get_by_role("button", name="Camera: Class 1").click()
    expect(page.locator(".camera")).to_be_visible(timeout=PATIENCE)
    leave_and_return(page)
    expect(page.locator(".camera")).to_have_count(0)
