"""The tab of the training, without a server."""

import json

import gradio as gr
import pytest

from resnext.page.models import Models
from resnext.page.tabs.history import HistoryTab
from resnext.results import read_history
from tests.helpers.repositories import make_repository


@pytest.fixture(scope="module")
def models(repository, tmp_path_factory):
    """Two models with learning curves, one without, and one that cannot be opened."""
    folder = tmp_path_factory.mktemp("models")
    make_repository(folder / "second")
    make_repository(folder / "bare", complete=False)
    return Models([str(repository), *(str(folder / name) for name in ("second", "bare", "gone"))])


def figure(plot) -> dict:
    return json.loads(plot.plot)


def test_the_tab_shows_the_best_epoch_the_curves_and_the_recipe(models):
    numbers, controls, others, logarithmic, loss, accuracy, recipe = HistoryTab(models).show(
        models.open(None), "en"
    )
    assert "14 of 20" in numbers
    assert controls.visible
    assert [name for name, _ in others.choices] == ["second", "bare", "gone"]
    assert logarithmic is False
    assert loss.visible
    assert accuracy.visible
    assert "learning rate" in recipe


def test_a_linear_probe_is_not_counted_as_an_epoch(models):
    flowers = Models(["flowers"]).open(None)
    numbers = HistoryTab(models).show(flowers, "en")[0]
    assert read_history(flowers.folder)[0]["epoch"] == 0
    assert "14 of 17" in numbers


def test_curves_of_other_models_are_added_and_missing_ones_reported(models, ask, monkeypatch):
    warnings = []
    monkeypatch.setattr(gr, "Warning", warnings.append)
    plots = HistoryTab(models).redraw("flowers", ["second", "bare", "gone"], True, ask())
    loss, accuracy = map(figure, plots)
    assert [line.get("name") for line in loss["data"]] == [
        "training",
        "validation",
        "second",
        "learning rate",
    ]
    assert loss["layout"]["yaxis"]["type"] == "log"
    assert accuracy["layout"]["yaxis"]["type"] == "linear"
    assert warnings[0] == "bare has no learning curves to compare."
    assert "gone" in warnings[1]
    assert len(warnings) == 2
