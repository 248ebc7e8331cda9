"""The tab of the test: the cells of the confusion matrix, the scores and the calibration."""

import json
import re
import types

import numpy as np
import pytest

from resnext.page.models import Models
from resnext.page.tabs import evaluation as tab
from resnext.repository import weights_digest
from resnext.results import CalibrationBin, Evaluation
from tests.helpers.repositories import FLOWERS, HOSTILE
from tests.page.repositories import make_tested


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Models([str(make_tested(tmp_path_factory.mktemp("tested")))]).get(None)


def text(html: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", html).split())


def test_a_cell_shows_its_thumbnails_and_their_number(model):
    shown = tab.cell_html(model, 0, 1, "en")
    assert shown.count("<img") == 3
    assert text(shown).startswith(
        "3 test images of daisy were predicted as dandelion. 90.0% 1-0.jpg 89.0% 1-1.jpg"
    )


def test_a_cell_without_thumbnails_lists_the_files(model):
    some, none = tab.cell_html(model, 2, 4, "en"), tab.cell_html(model, 3, 0, "en")
    assert some.count("<img") == 2
    assert "This repository has thumbnails of 2 of them." in some
    assert "<img" not in none
    assert "This repository has no thumbnails of these images." in none
    assert "One test image of sunflowers was predicted as daisy." in none
    assert "0-0.jpg" in none


def test_cells_of_the_diagonal_and_empty_cells_are_described(model):
    assert "9 of 16 test images of roses were classified correctly." in tab.cell_html(model, 2, 2, "en")
    assert "thumbnails" not in tab.cell_html(model, 2, 2, "en")
    assert text(tab.cell_html(model, 0, 4, "en")) == "No test image of daisy was predicted as tulips."


def test_a_cell_is_described_in_chinese(model):
    assert "roses 的测试图像中有 7 张被预测为 tulips" in tab.cell_html(model, 2, 4, "zh")
    assert not re.search("[a-z]{3} [a-z]", text(tab.cell_html(model, 3, 0, "zh")))


def test_names_and_files_are_escaped_in_a_cell(tmp_path):
    shown = tab.cell_html(Models([str(make_tested(tmp_path, HOSTILE))]).get(None), 0, 1, "en")
    assert re.findall("<(?:img|script|a) [^>]{0,12}", shown) == ['<img src="data:im'] * 3


@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan"), float("inf")])
def test_an_invalid_probability_is_refused(model, probability):
    values = json.loads((model.folder / "evaluation.json").read_text("utf-8"))
    values["predictions"][0]["probability"] = probability
    with pytest.raises(ValueError, match="probability"):
        Evaluation.from_json(json.dumps(values))


@pytest.mark.parametrize("confidence, said", [(0.5, "under-confident"), (0.99, "over-confident"), (0.75, "")])
def test_calibration_is_described_in_words(confidence, said):
    shown = text(tab.calibration_html([CalibrationBin(confidence, 0.75, 40)], "en"))
    assert f"{abs(confidence - 0.75):.1%}" in shown
    assert said in shown
    assert ("-confident" in shown) == bool(said)


def test_top_5_of_five_classes_is_left_out(model, tmp_path):
    assert "top-5" not in tab._headline(tab._evaluation(model, "en"), [], "en")
    six = Models([str(make_tested(tmp_path, (*FLOWERS, "weeds"), np.eye(6, dtype=int)))]).get(None)
    assert "99.0%" in text(tab._headline(tab._evaluation(six, "en"), [], "en"))


def test_a_clicked_cell_chooses_its_classes(model, models, ask):
    opened = tab.EvaluationTab(Models([str(model.folder)]))
    row, column, images = opened.choose_cell("", types.SimpleNamespace(true=0, predicted=1), ask())
    assert (row, column) == (0, 1)
    assert images == opened.show_cell("", 0, 1, ask())
    assert "3 test images of daisy were predicted as dandelion." in images


def test_the_confusion_matrix_is_redrawn_with_rates_and_in_another_order(model, ask):
    opened = tab.EvaluationTab(Models([str(model.folder)]))
    plot = opened.redraw("", "rates", "most confused first", ask("zh-CN"))
    figure = json.loads(plot.value["plot"])
    assert figure["layout"]["meta"][0] == FLOWERS.index("roses")
    assert figure["layout"]["annotations"][0]["text"].endswith("%")
    assert figure["layout"]["xaxis"]["title"]["text"] == "预测类别"


def test_the_results_of_other_weights_are_not_shown(tmp_path):
    folder = make_tested(tmp_path)
    tested = Models([str(folder)]).get(None)
    assert isinstance(tab._evaluation(tested, "en"), Evaluation)
    values = json.loads((folder / "evaluation.json").read_text("utf-8"))
    for digest, shown in ((weights_digest(folder), True), ("0" * 64, False)):
        (folder / "evaluation.json").write_text(json.dumps({**values, "weights_sha256": digest}))
        result = tab._evaluation(Models([str(folder)]).get(None), "en")
        assert isinstance(result, Evaluation) == shown
    assert "are of other weights, so they are not shown" in result
    assert "其他权重" in tab._evaluation(Models([str(folder)]).get(None), "zh")


def test_the_calibration_before_is_told_and_drawn():
    bins = [CalibrationBin(0.75, 0.75, 40)]
    before = [CalibrationBin(0.5, 0.75, 40)]
    assert "Before calibration it was 25.0%." in text(tab.calibration_html(bins, "en", before))
    assert "校准前为 25.0%。" in text(tab.calibration_html(bins, "zh", before))
    names = [trace["name"] for trace in tab.reliability_figure(bins, before)["data"]]
    assert names == ["before calibration", "after calibration"]
    assert len(tab.reliability_figure(bins)["data"]) == 1
