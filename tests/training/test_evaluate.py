"""What `evaluate` prints and draws is a fair sample of the test set."""

import numpy as np
import pytest

from resnext.results import Evaluation, ImagePrediction
from training.evaluate import first_predictions


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
