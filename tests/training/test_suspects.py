"""Images with a wrong label are found by a classifier that has not seen them."""

import dataclasses
import shutil

import numpy as np
import pytest

from resnext.classifier import Classifier
from resnext.results import Suspect, read_evaluation
from tests.helpers.photographs import paint
from tests.training.helpers import quiet
from training.data import find_images
from training.evaluate import evaluate, suspect_table
from training.suspects import FOLDS, cross_validate, doubted, find_suspects


def test_labels_that_were_exchanged_are_found_among_clear_features():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 100)
    features = rng.normal(0, 1, (300, 8)).astype(np.float32)
    features[np.arange(300), labels] += 5
    wrong = labels.copy()
    wrong[[3, 150, 250]] = [1, 2, 0]
    probabilities = cross_validate(features, wrong, 3)
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert set(doubted(probabilities, wrong)[:3]) == {3, 150, 250}


def test_the_lowest_probability_of_a_label_comes_first():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9]])
    assert doubted(probabilities, np.array([0, 0, 0, 1])).tolist() == [2, 1]


@pytest.fixture
def mislabeled(tmp_path):
    """A data set in which a picture of each class was copied into another class."""
    data = paint(tmp_path / "colors")
    shutil.copy(data / "train" / "red" / "0.jpg", data / "train" / "blue" / "wrong.jpg")
    shutil.copy(data / "test" / "green" / "0.jpg", data / "test" / "red" / "wrong.jpg")
    return data


def test_suspects_of_all_splits_are_listed_kept_and_shown(mislabeled, tuned, tmp_path):
    output = shutil.copytree(tuned, tmp_path / "tuned")
    classifier = Classifier.from_pretrained(output, precision="float32")
    lines = []
    evaluate(find_images(mislabeled), classifier, output, suspects=True, report=lines.append)
    suspects = read_evaluation(output).suspects
    found = {(row.file, row.label, row.likelier) for row in suspects[:2]}
    assert found == {("train/blue/wrong.jpg", "blue", "red"), ("test/red/wrong.jpg", "red", "green")}
    assert all((output / row.thumbnail).is_file() for row in suspects)
    assert any(line.startswith("train/blue/wrong.jpg") for line in lines)
    assert any("images may have a wrong label: look at them" in line for line in lines)
    evaluate(find_images(mislabeled), classifier, output, report=lines.append)
    assert "The earlier results of --suspects are kept, because weights and images are the same." in lines
    assert read_evaluation(output).suspects == suspects
    assert all((output / row.thumbnail).is_file() for row in suspects)
    image = mislabeled / "train" / "blue" / "wrong.jpg"
    shutil.copy(mislabeled / "train" / "green" / "0.jpg", image)
    evaluate(find_images(mislabeled), classifier, output, report=lines.append)
    said = "The earlier results of --suspects are of other weights or images, so they are dropped."
    assert said in lines
    assert read_evaluation(output).suspects is None


def test_suspects_that_the_data_set_does_not_have_are_not_kept(mislabeled, tuned, tmp_path):
    """evaluation.json may come from the Hub: it must not make thumbnails of other files of this machine."""
    output = shutil.copytree(tuned, tmp_path / "tuned")
    (tmp_path / "private.jpg").write_bytes((mislabeled / "train" / "red" / "0.jpg").read_bytes())
    classifier = Classifier.from_pretrained(output, precision="float32")
    evaluate(find_images(mislabeled), classifier, output, report=quiet)
    suspect = Suspect("../private.jpg", "red", "blue", 0.1)
    dataclasses.replace(read_evaluation(output), suspects=(suspect,)).write(output)
    evaluate(find_images(mislabeled), classifier, output, report=quiet)
    assert read_evaluation(output).suspects == ()


def test_no_pictures_are_kept_if_they_must_not_be(mislabeled, tuned, tmp_path):
    output = shutil.copytree(tuned, tmp_path / "tuned")
    classifier = Classifier.from_pretrained(output, precision="float32")
    evaluate(find_images(mislabeled), classifier, output, report=quiet)
    assert (output / "figures" / "samples.png").exists()
    evaluate(find_images(mislabeled), classifier, output, suspects=True, pictures=False, report=quiet)
    evaluation = read_evaluation(output)
    assert not (output / "figures" / "samples.png").exists()
    assert not (output / "mistakes").exists()
    assert not any(row.thumbnail for row in (*evaluation.predictions, *evaluation.suspects))


def test_small_classes_are_left_out_and_said(tmp_path, tuned):
    data = find_images(paint(tmp_path / "few", train=2, val=1, test=1))
    lines = []
    config = Classifier.from_pretrained(tuned).config
    assert find_suspects(data, config, lines.append) == []
    assert lines == [
        f"Not looked for suspects in 3 classes with fewer than {FOLDS} images.",
        "No suspects were looked for: it takes two classes.",
    ]


def test_a_table_without_suspects_is_one_line():
    assert suspect_table((), 7) == ["0 of 7 images may have a wrong label."]
