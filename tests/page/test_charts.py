"""The page's figures: learning curves, confusion matrices, orders of classes."""

import base64
import json

import numpy as np
import plotly.graph_objects as go
import pytest

from resnext.page import charts, records
from resnext.results import CalibrationBin
from tests.helpers.repositories import FLOWERS
from tests.page.repositories import MATRIX


def test_curves_have_a_gap_where_training_diverged():
    history = records.parse_epochs(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n1,nan,0.5,inf,0.5,0.1\n2,1,0.5,1,0.5,0.1\n"
    )
    training, validation = charts.curve(history, "loss", best_epoch=2)["data"][:2]
    assert training["y"] == validation["y"] == [None, 1.0]


def test_a_linear_probe_before_the_epochs_has_no_learning_rate():
    history = records.parse_epochs(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n0,1,0.5,1,0.5,0.9\n1,1,0.5,1,0.5,0.1\n"
    )
    training, _, rates = charts.curve(history, "loss", best_epoch=1)["data"]
    assert training["x"] == [0.0, 1.0]
    assert (rates["x"], rates["y"]) == ([1.0], [0.1])
    assert charts.curve(history[:1], "loss", best_epoch=0)["data"][2]["x"] == []


def test_a_confusion_matrix_has_the_count_and_rate_of_every_cell():
    figure = charts.confusion_figure(np.array([[3, 1], [0, 0]]), ["crane", "crane"], values="counts")
    cells = figure["data"][0]
    assert cells["customdata"].tolist() == [[3, 1], [0, 0]]
    assert cells["z"].tolist() == [[0.75, 0.25], [0, 0]]
    assert len(set(cells["x"])) == 2


def test_similar_classes_are_adjacent_and_the_worst_class_is_first():
    matrix = np.diag([9, 9, 9, 9])
    matrix[0, 2] = matrix[2, 0] = matrix[1, 3] = matrix[3, 1] = 4
    matrix[3, 0] = 1
    order = list(charts.class_order(matrix, "similar classes together"))
    assert abs(order.index(0) - order.index(2)) == abs(order.index(1) - order.index(3)) == 1
    assert charts.class_order(matrix, "most confused first")[0] == 3


@pytest.mark.parametrize("classes", [2, 5, 100, 1000])
def test_a_confusion_matrix_is_drawn_for_few_and_many_classes(classes):
    matrix = np.eye(classes, dtype=int) * 50
    for order in charts.ORDERS:
        figure = charts.confusion_figure(matrix, [f"class {index}" for index in range(classes)], order)
        assert figure["data"][0]["z"].shape == (classes, classes)


def test_clusters_of_similar_classes_are_contiguous():
    random = np.random.default_rng(0)
    clusters = random.permutation(np.arange(60) // 5)
    matrix = (
        np.where(clusters[:, None] == clusters, random.integers(1, 9, (60, 60)), 0)
        + np.eye(60, dtype=int) * 50
    )
    order = charts.class_order(matrix, "similar classes together")
    assert sorted(order) == list(range(60))
    assert np.count_nonzero(np.diff(clusters[order])) == 11


@pytest.mark.parametrize(
    "matrix", [np.zeros((1, 1), int), np.zeros((4, 4), int), np.eye(3, dtype=int), np.full((2, 2), 2**62)]
)
@pytest.mark.parametrize("order", charts.ORDERS)
def test_every_matrix_has_every_order(matrix, order):
    assert sorted(charts.class_order(matrix, order)) == list(range(len(matrix)))


@pytest.mark.parametrize("values", ["counts", "rates"])
def test_a_matrix_of_a_thousand_classes_has_less_than_2_megabytes(values):
    matrix = np.eye(1000, dtype=int) * 200
    matrix[3, 7] = 1
    figure = charts.confusion_figure(
        matrix, [f"class {index}" for index in range(1000)], "most confused first", values
    )
    assert len(charts.as_plot(figure).plot) < 1_700_000
    cells, dots = figure["data"]
    row, column = figure["layout"]["meta"].index(3), figure["layout"]["meta"].index(7)
    assert (cells["y"][row], cells["x"][column]) == ("class 3", "class 7")
    assert cells["z"][row, column] == 1  # one image; half a percent is not rounded away
    assert (dots["y"], dots["x"], dots["customdata"][0][0]) == (["class 3"], ["class 7"], 1)


def test_a_confusion_matrix_tells_which_class_each_row_is():
    figure = charts.confusion_figure(MATRIX, list(FLOWERS), "most confused first")
    names = figure["data"][0]["y"]
    assert [FLOWERS[index] for index in figure["layout"]["meta"]] == names
    assert names[0] == "roses"


def test_plotly_accepts_the_figures_and_reads_the_same_numbers():
    row = {"epoch": 1, "loss": 1.0, "val_loss": float("nan"), "accuracy": 0.5, "val_accuracy": 0.5}
    history = [{**row, "learning_rate": 0.1}, {**row, "epoch": 2, "learning_rate": 0.0}]
    bins = [CalibrationBin(0.3, 0.2, 10), CalibrationBin(0.9, 0.95, 90)]
    figures = [
        charts.curve(history, "loss", 1, {"other <b>": history}, logarithmic=True),
        charts.curve(history, "accuracy", 1, language="zh"),
        charts.reliability_figure(bins, bins),
        *(
            charts.confusion_figure(
                np.eye(classes, dtype=int) * 99, [str(i) for i in range(classes)], values=values
            )
            for classes in (3, 20, 40, 301)
            for values in ("counts", "rates")
        ),
    ]
    for figure in figures:
        sent = json.loads(charts.as_plot(figure).plot)
        checked = go.Figure(sent)  # raises if an attribute is unknown or not valid
        assert json.loads(checked.to_json())["layout"] == sent["layout"]
        for trace, own in zip(checked.data, figure["data"], strict=True):
            for name in ("x", "y", "z", "customdata"):
                assert np.array_equal(_numbers(getattr(trace, name, None)), _numbers(own.get(name)))


def _numbers(values):
    """Values of a trace as an array, also of Plotly's base64."""
    if isinstance(values, dict):
        shape = [int(size) for size in values["shape"].split(",")]
        values = np.frombuffer(base64.b64decode(values["bdata"]), values["dtype"]).reshape(shape)
    return np.array(values, object)


def test_equal_names_become_unique():
    assert charts.unique_names(["crane", "crane", "owl"]) == ["crane (0)", "crane (1)", "owl"]
    assert len(set(charts.unique_names(["crane", "crane", "crane (0)"]))) == 3


def test_the_most_frequent_confusion_is_found():
    assert charts.most_confused(MATRIX) == (2, 4)
    assert charts.most_confused(np.eye(3, dtype=int)) == (0, 0)
