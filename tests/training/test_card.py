"""The model card: what it states, what it keeps of a person's own words, and names that look like markup."""

import dataclasses
import json
import math
import shutil

import pytest
from huggingface_hub import ModelCard

from resnext.repository import BUNDLED_FOLDER
from resnext.results import read_evaluation
from training.card import _duration, write_card


@pytest.mark.slow
def test_the_card_states_the_measured_accuracy_and_shows_both_figures(trained):
    output, _ = trained
    card = ModelCard.load(output / "README.md")
    evaluation = read_evaluation(output)
    assert card.data.library_name == "timm"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.eval_results[0].metric_value == round(evaluation.top1, 4)
    assert f"Top-1 accuracy {evaluation.top1:.2%}" in card.text
    assert "figures/heatmap.png" in card.text
    assert "figures/curves.png" in card.text
    assert "timm.create_model" in card.text
    assert "python -m training fit" in card.text


def test_the_bundled_card_is_what_this_version_writes(tmp_path):
    folder = shutil.copytree(BUNDLED_FOLDER, tmp_path / "flowers")
    before = (folder / "README.md").read_text("utf-8")
    write_card(folder)
    assert (folder / "README.md").read_text("utf-8") == before


def test_a_card_that_a_person_changed_is_kept(tmp_path):
    for name in ("config.json", "recipe.json", "history.csv", "evaluation.json"):
        shutil.copy(BUNDLED_FOLDER / name, tmp_path)
    (tmp_path / "README.md").write_text("# Mine\n")
    write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


def test_a_card_without_a_complete_evaluation_states_no_results(tmp_path):
    for name in ("config.json", "recipe.json", "history.csv"):
        shutil.copy(BUNDLED_FOLDER / name, tmp_path)
    write_card(tmp_path)
    assert "## Results" not in (tmp_path / "README.md").read_text("utf-8")
    evaluation = json.loads((BUNDLED_FOLDER / "evaluation.json").read_bytes())
    del evaluation["loss"]
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    write_card(tmp_path)
    assert "## Results" not in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.hostile
def test_class_names_in_the_card_cannot_act_as_markup(tmp_path, tiny_config):
    labels = ("<img src=x>", "a|b", "[x](javascript:y)")
    dataclasses.replace(tiny_config, label_names=labels).write(tmp_path / "config.json")
    write_card(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "<img" not in text
    assert "a|b" not in text
    assert "[x]" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(10, "Training took 1 min. "), (1500, "Training took 50 min. "), (5400, "Training took 3.0 hours. ")],
)
def test_the_card_tells_how_long_training_took(seconds, text):
    assert _duration([{"seconds": seconds}] * 2) == text


def test_the_card_is_silent_about_an_unknown_duration():
    assert _duration([{"seconds": math.nan}]) == ""
