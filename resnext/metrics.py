"""Accuracy, loss and calibration of a network's logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnext.linear_probe import softmax
from resnext.results import ClassScores, Evaluation, ImagePrediction

MIN_CALIBRATION_IMAGES = 50  # from fewer validation images, no temperature is fitted
_MAX_TEMPERATURE = 20.0  # and the largest inverse of one
_HALVINGS = 60


def measure(logits: np.ndarray, true: np.ndarray, labels: Sequence[str], files: Sequence[str]) -> Evaluation:
    """Computes all metrics of an evaluation.

    Args:
        logits: (images, classes) float.
        true: (images,) int, the true classes.
        labels: The names of the classes.
        files: The names of the images.
    """
    images, classes = logits.shape
    predicted = _ranking(logits)[:, 0]
    probabilities = np.exp(_log_softmax(logits)[np.arange(images), predicted])
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (true, predicted), 1)
    predictions = tuple(
        ImagePrediction(file, labels[t], labels[p], round(float(probability), 6))
        for file, t, p, probability in zip(files, true, predicted, probabilities)
    )
    per_class = tuple(_class_scores(matrix, index, label) for index, label in enumerate(labels))
    values: dict[str, Any] = scores(logits, true)
    return Evaluation(tuple(labels), matrix, per_class, predictions, samples=images, **values)


def scores(logits: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Computes accuracy and loss.

    Args:
        logits: (images, classes) float.
        true: (images,) int, the true classes.

    Returns:
        "top1" and "top5", accuracies in [0, 1], and "loss", the mean cross-entropy.
    """
    correct = _ranking(logits) == true[:, None]
    loss = -_log_softmax(logits)[np.arange(len(true)), true].mean()
    return {
        "top1": float(correct[:, 0].mean()),
        "top5": float(correct[:, :5].any(axis=1).mean()),
        "loss": float(loss),
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature that minimizes the cross-entropy of logits divided by it.

    The true class has the target (n + 1) / (n + 2) of n images, as in Platt's scaling (1999), or else a
    network without a mistake would be certain of everything.

    Args:
        logits: (images, classes) float.
        labels: (images,) int, the true classes.
    """
    logits = np.asarray(logits, np.float64)
    images, classes = logits.shape
    targets = np.full_like(logits, 1 / (images + 2) / (classes - 1))
    targets[np.arange(images), labels] = (images + 1) / (images + 2)
    low, high = -np.log(_MAX_TEMPERATURE), np.log(_MAX_TEMPERATURE)  # of the inverse temperature's logarithm
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # The derivative of the loss by the inverse temperature, which grows with it.
        slope = ((softmax(logits * np.exp(middle)) - targets) * logits).sum()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))


def _ranking(logits: np.ndarray) -> np.ndarray:
    # Of equal logits, the first class comes first, as in `Classifier.top`.
    return np.argsort(-logits, axis=1, kind="stable")


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _class_scores(matrix: np.ndarray, index: int, label: str) -> ClassScores:
    correct = matrix[index, index]
    support = matrix[index].sum()
    predicted = matrix[:, index].sum()
    # A score is 0 where its denominator is 0, as in scikit-learn.
    return ClassScores(
        label,
        precision=float(correct / max(predicted, 1)),
        recall=float(correct / max(support, 1)),
        f1=float(2 * correct / max(predicted + support, 1)),
        support=int(support),
    )
