"""The model card: what it states, what it keeps of a person's own words, and names that look like markup."""

import dataclasses
import json
import math
import shutil

import pytest
from huggingface_hub import ModelCard

from resnext.repository import BUNDLED
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
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    before = (folder / "README.md").read_text("utf-8")
    write_card(folder)
    assert (folder / "README.md").read_text("utf-8") == before


def test_a_card_that_a_person_changed_is_kept(tmp_path):
    for name in ("config.json", "recipe.json", "history.csv", "evaluation.json"):
        shutil.copy(BUNDLED["flowers"] / name, tmp_path)
    (tmp_path / "README.md").write_text("# Mine\n")
    write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


@pytest.mark.parametrize(
    ("overlap", "words"),
    [
        (
            0,
            "test images, which were used neither to train nor to choose the weights (checked by their "
            "content; the images of the network that training started from were not checked).",
        ),
        (3, "test images, 3 of which were also used to train or to choose the weights."),
        (None, "test images.\n"),
    ],
)
def test_the_card_claims_of_the_test_images_what_was_checked(overlap, words, tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    dataclasses.replace(read_evaluation(folder), overlap=overlap).write(folder)
    write_card(folder)
    assert f"on 550 {words}" in (folder / "README.md").read_text("utf-8")


def test_the_card_states_no_results_of_other_weights(tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    dataclasses.replace(read_evaluation(folder), weights_sha256="0" * 64).write(folder)
    write_card(folder)
    assert "## Results" not in (folder / "README.md").read_text("utf-8")


def test_the_card_names_the_weights_that_were_kept(tmp_path):
    folder = shutil.copytree(BUNDLED["flowers"], tmp_path / "flowers")
    record = json.loads((folder / "recipe.json").read_bytes())
    record["recipe"] |= {"keep_last": True, "ema": 0.99, "accumulate": 1}
    (folder / "recipe.json").write_text(json.dumps(record))
    write_card(folder)
    text = (folder / "README.md").read_text("utf-8")
    assert "The weights (an exponential moving average) are those of epoch 80 of 80, the last one" in text
    assert "| decay of the averaged weights (EMA) | 0.99 |" in text
    assert "accumulated" not in text


def test_a_card_without_a_complete_evaluation_states_no_results(tmp_path):
    for name in ("config.json", "recipe.json", "history.csv"):
        shutil.copy(BUNDLED["flowers"] / name, tmp_path)
    write_card(tmp_path)
    assert "## Results" not in (tmp_path / "README.md").read_text("utf-8")
    evaluation = json.loads((BUNDLED["flowers"] / "evaluation.json").read_bytes())
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
