"""The tab of the test: orders of classes, what is behind a cell of the heatmap, the table that sorts, and how sure to be."""

import io
import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from resnext.page import charts, records
from resnext.page.i18n import CHINESE
from resnext.page.models import Models
from resnext.page.tabs import evaluation as tab
from tests.helpers.pages import PATIENCE, served
from tests.helpers.repositories import FLOWERS, HOSTILE, make_repository

expect.set_options(timeout=PATIENCE)
MATRIX = np.array([[20, 3, 0, 0, 0], [0, 18, 0, 0, 0], [0, 0, 9, 0, 7], [1, 0, 0, 15, 0], [0, 0, 2, 0, 12]])


def jpeg(colour) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def make_tested(folder, labels=FLOWERS, matrix=MATRIX, thumbnails=5, top5=0.99):
    """A repository whose predictions are those of the matrix, and which holds thumbnails of the first mistakes."""
    make_repository(folder, labels)
    predictions, colours = [], iter(range(thumbnails))
    for (row, column), count in np.ndenumerate(matrix):
        for index in range(count):
            file = f"test/{row}/{column}-{index}.jpg"
            predictions.append(
                {
                    "file": file,
                    "true": labels[row],
                    "predicted": labels[column],
                    "probability": 0.9 - index / 100,
                }
            )
            if row != column and (number := next(colours, None)) is not None:
                predictions[-1]["thumbnail"] = f"mistakes/{number:04}.jpg"
                (folder / "mistakes").mkdir(exist_ok=True)
                (folder / "mistakes" / f"{number:04}.jpg").write_bytes(jpeg((40 * number, 0, 0)))
    per_class = [
        {
            "label": label,
            "precision": 0.5 + index / 1000,
            "recall": 1 - index / 2000,
            "f1": 0.7,
            "support": 200 * index,
        }
        for index, label in enumerate(labels)
    ]
    values = {
        "top1": 0.85,
        "top5": top5,
        "loss": 0.4,
        "samples": len(predictions),
        "dtype": "float32",
        "classes": list(labels),
        "confusion_matrix": matrix.tolist(),
        "per_class": per_class,
        "predictions": predictions,
    }
    (folder / "evaluation.json").write_text(json.dumps(values), "utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Models([str(make_tested(tmp_path_factory.mktemp("tested")))]).get(None)


def text(html: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", html).split())


# --- the heatmap ------------------------------------------------------------------------------------------------------


def test_clusters_of_classes_lie_together_whatever_their_order_was():
    random = np.random.default_rng(0)
    clusters = random.permutation(np.arange(60) // 5)
    matrix = (
        np.where(clusters[:, None] == clusters, random.integers(1, 9, (60, 60)), 0)
        + np.eye(60, dtype=int) * 50
    )
    order = charts.class_order(matrix, "similar ones together")
    assert sorted(order) == list(range(60))
    assert np.count_nonzero(np.diff(clusters[order])) == 11


@pytest.mark.parametrize(
    "matrix", [np.zeros((1, 1), int), np.zeros((4, 4), int), np.eye(3, dtype=int), np.full((2, 2), 2**62)]
)
@pytest.mark.parametrize("order", charts.ORDERS)
def test_every_matrix_has_every_order(matrix, order):
    assert sorted(charts.class_order(matrix, order)) == list(range(len(matrix)))


@pytest.mark.parametrize("show", tab.SHOWN)
def test_a_thousand_classes_are_few_megabytes_with_every_name(show):
    matrix = np.eye(1000, dtype=int) * 200
    matrix[3, 7] = 1
    figure = charts.heatmap(matrix, [f"class {index}" for index in range(1000)], "most confused first", show)
    assert len(figure.to_json()) < 1_700_000
    row, column = figure.layout.meta.index(3), figure.layout.meta.index(7)
    assert (figure.data[0].y[row], figure.data[0].x[column]) == ("class 3", "class 7")
    assert figure.data[0].z[row, column] == 1  # one image; half a percent is not rounded away
    dots = figure.data[1]
    assert (dots.y, dots.x, dots.customdata[0][0]) == (("class 3",), ("class 7",), 1)


def test_a_figure_tells_which_class_each_row_is():
    figure = charts.heatmap(MATRIX, list(FLOWERS), "most confused first")
    assert [FLOWERS[index] for index in figure.layout.meta] == list(figure.data[0].y)
    assert figure.data[0].y[0] == "roses"


def test_names_that_are_the_same_become_different():
    assert charts.distinct(["crane", "crane", "owl"]) == ["crane (0)", "crane (1)", "owl"]
    assert len(set(charts.distinct(["crane", "crane", "crane (0)"]))) == 3


# --- what is behind a cell ----------------------------------------------------------------------------------------------


def test_the_most_frequent_confusion_is_chosen_first():
    assert records.most_confused(MATRIX) == (2, 4)
    assert records.most_confused(np.eye(3, dtype=int)) == (0, 0)


def test_a_cell_shows_its_pictures_and_how_many_there_are(model):
    shown = tab._cell(model, 0, 1, "en")
    assert shown.count("<img") == 3
    assert text(shown).startswith(
        "3 test images of daisy were taken for dandelion. 90.0% 1-0.jpg 89.0% 1-1.jpg"
    )


def test_a_cell_without_its_pictures_says_so_and_names_the_files(model):
    some, none = tab._cell(model, 2, 4, "en"), tab._cell(model, 3, 0, "en")
    assert some.count("<img") == 2
    assert "This repository holds thumbnails of 2 of them." in some
    assert "<img" not in none
    assert "This repository holds no thumbnails of them." in none
    assert "One test image of sunflowers was taken for daisy." in none
    assert "0-0.jpg" in none


def test_a_cell_of_the_diagonal_tells_how_many_were_right_and_an_empty_one_that_there_are_none(model):
    assert "9 of 16 test images of roses were right." in tab._cell(model, 2, 2, "en")
    assert "thumbnails" not in tab._cell(model, 2, 2, "en")
    assert text(tab._cell(model, 0, 4, "en")) == "No test image of daisy was taken for tulips."


def test_a_cell_is_told_in_chinese(model):
    assert "roses 的测试图像中有 7 张被认作 tulips" in tab._cell(model, 2, 4, "zh")
    assert not re.search("[a-z]{3} [a-z]", text(tab._cell(model, 3, 0, "zh")))


def test_names_and_files_are_text_in_a_cell(tmp_path):
    shown = tab._cell(Models([str(make_tested(tmp_path, HOSTILE))]).get(None), 0, 1, "en")
    assert re.findall("<(?:img|script|a) [^>]{0,12}", shown) == ['<img src="data:im'] * 3


def test_the_tab_speaks_chinese_throughout(tmp_path):
    said = set(re.findall(r'say\(language, "([^"]+)"', pathlib.Path(tab.__file__).read_text("utf-8")))
    assert said
    assert said <= set(CHINESE)


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan"), float("inf")])
def test_what_is_no_probability_is_refused(model, probability):
    values = json.loads((model.folder / "evaluation.json").read_text("utf-8"))
    values["predictions"][0]["probability"] = probability
    with pytest.raises(ValueError, match="probability"):
        records.parse_evaluation(json.dumps(values))


@pytest.mark.parametrize(
    "given, told", [(0.5, "more often than it says"), (0.99, "less often than it says"), (0.75, "")]
)
def test_reliability_is_told_in_words(given, told):
    shown = text(tab._meaning([(given, 0.75, 40)], "en"))
    assert f"{abs(given - 0.75):.1%}" in shown
    assert told in shown
    assert ("often" in shown) == bool(told)


def test_top_5_of_five_classes_is_no_news(model, tmp_path):
    assert "top-5" not in tab._headline(tab._evaluation(model, "en"), "en")
    six = Models([str(make_tested(tmp_path, (*FLOWERS, "weeds"), np.eye(6, dtype=int)))]).get(None)
    assert "99.0%" in text(tab._headline(tab._evaluation(six, "en"), "en"))


# --- in the browser ---------------------------------------------------------------------------------------------------


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
        "(([frame]) => [frame.y0 + .5, frame.x0 + .5])(document.querySelector('.heatmap .js-plotly-plot').layout.shapes)"
    )


def test_a_click_on_a_cell_shows_its_images_in_every_order_and_the_keyboard_can_choose_too(visit):
    page = visit()
    told = page.locator(".told")
    expect(told).to_have_text("7 test images of roses were taken for tulips.")
    expect(page.get_by_label("True class")).to_have_value("roses")
    assert framed(page) == [2, 4]
    page.mouse.click(*place(page, 0, 1))
    expect(told).to_have_text("3 test images of daisy were taken for dandelion.")
    expect(page.get_by_label("Predicted class")).to_have_value("dandelion")
    expect(page.get_by_role("region", name="daisy taken for dandelion").locator("img")).to_have_count(3)
    page.get_by_label("most confused first").click()
    expect(page.locator(".heatmap .ytick text").first).to_have_text("roses")
    page.mouse.click(*place(page, 0, 0))
    expect(told).to_have_text("9 of 16 test images of roses were right.")
    expect(
        page.get_by_role("img", name="Confusion matrix of 5 classes: 74 of 87 images are right.")
    ).to_be_visible()
    chosen = page.get_by_label("Predicted class")
    chosen.fill("tul")
    chosen.press("Enter")
    expect(told).to_have_text("7 test images of roses were taken for tulips.")


def test_a_finger_chooses_a_cell_and_another_model_starts_anew(visit):
    page = visit(has_touch=True, viewport={"width": 390, "height": 800}, locale="zh-CN")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.touchscreen.tap(*place(page, 0, 1))
    expect(page.locator(".told")).to_have_text("daisy 的测试图像中有 3 张被认作 dandelion。")
    model = page.get_by_role("listbox", name="模型").or_(page.get_by_label("模型", exact=True)).first
    model.click()
    page.get_by_role("option").nth(1).click()
    expect(page.locator(".told")).to_have_text("class 0 的测试图像中有 1 张被认作 class 1。")
    expect(page.get_by_label("真实类别")).to_have_value("class 0")


def test_of_many_classes_one_is_found_sorted_and_enlarged(visit):
    page = visit("&model=many0")
    told, area = (
        page.locator(".told"),
        "document.querySelector('.heatmap .js-plotly-plot')._fullLayout.xaxis.range",
    )
    expect(told).to_have_text("One test image of class 0 was taken for class 1.")
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
    expect(told).to_have_text(
        "One test image of class 0 was taken for class 1."
    )  # a double-click chooses nothing
