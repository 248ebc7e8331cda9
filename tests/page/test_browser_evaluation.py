"""The tab of the test in headless Chromium: by pointer, finger and keyboard."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.helpers.pages import PATIENCE, served
from tests.page.repositories import make_tested

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    many = [f"class {index}" for index in range(30)]
    few = make_tested(tmp_path_factory.mktemp("tested"))
    with served(
        few,
        make_tested(
            tmp_path_factory.mktemp("many"), many, np.eye(30, dtype=int) * 9 + np.eye(30, k=1, dtype=int)
        ),
    ) as address:
        yield address


@pytest.fixture
def visit(browser, address):
    """Opens the tab in a new page."""
    contexts = []

    def visit(query: str = "", **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1180, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        with page.expect_response(
            lambda response: "plotly" in response.url.lower()
        ):  # until then, asking the page would be a person's act
            page.goto(f"{address}?tab=test{query}")
        page.locator(".heatmap .heatmaplayer image").wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()


def place(page, row: int, column: int, classes: int = 5) -> tuple[float, float]:
    """Where a cell is in the window."""
    area = page.locator(".heatmap .nsewdrag")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    return box["x"] + box["width"] * (column + 0.5) / classes, box["y"] + box["height"] * (
        row + 0.5
    ) / classes


def framed(page) -> list[float]:
    """Row and column with the frame."""
    return page.evaluate(
        """(([frame]) => [frame.y0 + .5, frame.x0 + .5])(
        document.querySelector('.heatmap .js-plotly-plot').layout.shapes)"""
    )


def test_a_click_on_a_cell_or_the_keyboard_shows_its_images(visit):
    page = visit()
    summary = page.locator(".cell-summary")
    expect(summary).to_have_text("7 test images of roses were predicted as tulips.")
    expect(page.get_by_label("True class")).to_have_value("roses")
    assert framed(page) == [2, 4]
    page.mouse.click(*place(page, 0, 1))
    expect(summary).to_have_text("3 test images of daisy were predicted as dandelion.")
    expect(page.get_by_label("Predicted class")).to_have_value("dandelion")
    expect(page.get_by_role("region", name="daisy predicted as dandelion").locator("img")).to_have_count(3)
    page.get_by_label("most confused first").click()
    expect(page.locator(".heatmap .ytick text").first).to_have_text("roses")
    page.mouse.click(*place(page, 0, 0))
    expect(summary).to_have_text("9 of 16 test images of roses were classified correctly.")
    expect(
        page.get_by_role(
            "img", name="Confusion matrix of 5 classes: 74 of 87 images are classified correctly."
        )
    ).to_be_visible()
    chosen = page.get_by_label("Predicted class")
    chosen.fill("tul")
    chosen.press("Enter")
    expect(summary).to_have_text("7 test images of roses were predicted as tulips.")


def test_a_tap_chooses_a_cell_and_another_model_resets_it(visit):
    page = visit(has_touch=True, viewport={"width": 390, "height": 800}, locale="zh-CN")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.touchscreen.tap(*place(page, 0, 1))
    expect(page.locator(".cell-summary")).to_have_text("daisy 的测试图像中有 3 张被预测为 dandelion。")
    model = page.get_by_role("listbox", name="模型").or_(page.get_by_label("模型", exact=True)).first
    model.click()
    page.get_by_role("option").nth(1).click()
    expect(page.locator(".cell-summary")).to_have_text("class 0 的测试图像中有 1 张被预测为 class 1。")
    expect(page.get_by_label("真实类别")).to_have_value("class 0")


def test_many_classes_can_be_zoomed_sorted_and_searched(visit):
    page = visit("&model=many0")
    summary = page.locator(".cell-summary")
    plot = "document.querySelector('.heatmap .js-plotly-plot')"
    area = f"{plot}._fullLayout.xaxis.range"
    # On a busy machine, the second click may be handled later than Plotly's 300 ms after the first.
    page.evaluate(f"{plot}._context.doubleClickDelay = 5000")
    expect(summary).to_have_text("One test image of class 0 was predicted as class 1.")
    page.mouse.move(*place(page, 10, 10, 30))
    page.mouse.down()
    page.mouse.move(*place(page, 14, 14, 30), steps=4)
    page.mouse.up()
    page.wait_for_function(f"{area}[0] > 9")
    page.mouse.dblclick(*place(page, 12, 12, 30))
    page.wait_for_function(f"{area}[0] < 0")
    rows = page.get_by_role("region", name="Per class").locator("tbody tr")
    head = page.get_by_role("columnheader", name="images")
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(rows.nth(6)).to_contain_text("1,200")  # a number, not a text, and the comma does not matter
    head.get_by_role("button").press("Enter")
    expect(rows.first).to_contain_text("class 29")
    page.get_by_role("button", name="class").click()
    expect(head).to_have_attribute("aria-sort", "none")
    expect(rows.nth(2)).to_contain_text("class 2")
    page.get_by_label("Find a class").fill("S 17")
    expect(rows.filter(visible=True)).to_have_count(1)
    expect(summary).to_have_text(
        "One test image of class 0 was predicted as class 1."
    )  # a double-click chooses nothing
