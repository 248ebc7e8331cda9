"""Files of a repository become values, or a sentence for the visitor."""

import json

import pytest

from resnext.page import records
from resnext.results import Evaluation
from tests.helpers.repositories import evaluation


def test_a_missing_file_is_named_with_what_is_missing_for_it(tmp_path):
    shown = records.read(
        tmp_path / "history.csv", records.parse_epochs, "there are no learning curves to show"
    )
    assert "This repository has no history.csv, so there are no learning curves to show." in shown
    shown = records.read(
        tmp_path / "history.csv", records.parse_epochs, "there are no learning curves to show", "zh"
    )
    assert "此仓库没有 history.csv：没有学习曲线可显示。" in shown


@pytest.mark.parametrize("label", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_in_a_file_does_not_break_the_page(tmp_path, label):
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation([label])), "utf-8")
    shown = records.read(
        tmp_path / "evaluation.json", Evaluation.from_json, "there are no test results to show"
    )
    assert "surrogates" in shown
    shown.encode()


def test_a_recipe_is_tables_of_its_settings_in_both_languages(repository):
    text = (repository / "recipe.json").read_text("utf-8")
    english, chinese = records.recipe_tables(text), records.recipe_tables(text, "zh")
    assert "<th" in english
    assert "learning rate" in english
    assert "0.5, 0.5, 0.5" in english
    assert "学习率" in chinese
    assert "fc87fc87fc87" in chinese
    assert "fc87" * 4 not in chinese
