"""What `evaluate` prints and draws is a fair sample of the test set, and its files belong together."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from resnext.classifier import Classifier
from resnext.results import EVALUATION, FIGURES, Evaluation, ImagePrediction
from tests.helpers.photographs import paint
from tests.training.helpers import quiet
from training.data import find_images
from training.evaluate import evaluate, first_predictions


def evaluation(counts):
    """An evaluation with a number of test images of each class, sorted by class as a data set is."""
    rows = [(label, index) for label, count in counts.items() for index in range(count)]
    predictions = tuple(ImagePrediction(f"{label}/{index}.jpg", label, label, 0.9) for label, index in rows)
    return Evaluation(tuple(counts), np.diag(list(counts.values())), (), predictions)


def files(counts):
    return [line.split()[0] for line in first_predictions(evaluation(counts))[1:]]


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ({"a": 5, "b": 2}, ["a/0", "a/1", "a/2", "a/3", "a/4", "b/0", "b/1"]),
        ({"a": 90, "b": 90}, [f"{label}/{index}" for label in "ab" for index in range(5)]),
        ({"a": 90, "b": 1, "c": 90}, [*(f"a/{i}" for i in range(5)), "b/0", *(f"c/{i}" for i in range(4))]),
        ({"a": 3, "b": 90}, [*(f"a/{index}" for index in range(3)), *(f"b/{index}" for index in range(7))]),
    ],
)
def test_ten_predictions_are_spread_over_the_classes(counts, chosen):
    assert files(counts) == [f"{name}.jpg" for name in chosen]


def test_ten_predictions_of_many_classes_are_of_ten_classes_far_apart():
    chosen = files({f"{index:03}": 5 for index in range(100)})
    assert chosen == [f"{index:03}/0.jpg" for index in range(0, 100, 11)]


def test_a_wrong_prediction_is_marked_in_its_line():
    rows = (ImagePrediction("a/0.jpg", "a", "b", 0.5), ImagePrediction("b/0.jpg", "b", "b", 0.75))
    assert first_predictions(Evaluation(("a", "b"), np.eye(2, dtype=int), (), rows)) == [
        "file     true  predicted  probability",
        "a/0.jpg  a     b          50.0%        wrong",
        "b/0.jpg  b     b          75.0%",
    ]


def test_figures_of_an_interrupted_evaluation_belong_to_its_numbers(
    tuned, photographs, tmp_path, monkeypatch
):
    """It ends just before a file is in its place, as if it were killed there."""
    other = find_images(paint(tmp_path / "other", seed=7, test=2))
    classifier = Classifier.from_pretrained(tuned, precision="float32")
    output = tmp_path / "results"

    def contents():
        figures = {name: output / "figures" / name for name in FIGURES}
        return (output / EVALUATION).read_bytes(), {
            name: path.read_bytes() for name, path in figures.items() if path.exists()
        }

    evaluate(other, classifier, output, report=quiet)
    after = contents()
    shutil.rmtree(output)
    evaluate(find_images(photographs), classifier, output, report=quiet)
    before = contents()
    assert set(before[1]) == set(after[1]) == {"samples.png", "heatmap.png", "reliability.png"}
    assert all(before[1][name] != after[1][name] for name in before[1])
    replace = os.replace
    for last in (EVALUATION, "heatmap.png", "reliability.png"):

        def replace_until(source, target, last=last):
            if pathlib.Path(target).name == last:
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr(os, "replace", replace_until)
        with pytest.raises(KeyboardInterrupt):
            evaluate(other, classifier, output, report=quiet)
        numbers, figures = contents()
        whole = before if last == EVALUATION else after
        assert figures.items() <= whole[1].items()
        assert (numbers == whole[0]) or last != EVALUATION
    monkeypatch.setattr(os, "replace", replace)
    evaluate(other, classifier, output, report=quiet)
    assert contents() == after
