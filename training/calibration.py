"""Calibration: one temperature for all logits, so that probabilities match accuracies (arXiv:1706.04599)."""

from collections.abc import Callable

import numpy as np

from resnext.classifier import Classifier
from resnext.linear_probe import softmax
from resnext.repository import find_repository, load_tensors
from resnext.weights import write_safetensors

from .data import ImageFolders
from .evaluate import compute_logits, true_classes
from .run_folder import RunFolder

MIN_IMAGES = 50  # from fewer validation images, no temperature is fitted
_LIMIT = 20.0  # of the temperature, and of its inverse
_HALVINGS = 60


def calibrate(run: RunFolder, data: ImageFolders, report: Callable[[str], object]) -> None:
    """Folds the temperature that fits the validation images best into the classifier of a trained network.

    The order of the classes stays the same in every prediction. The classifier is stored as float32.

    Args:
        run: The output folder of `fit`, with config.json and model.safetensors. The temperature goes to
            recipe.json.
        data: The data set, with a split "val".
        report: Called with a line on the result.
    """
    count = len(data.splits["val"])
    if count < MIN_IMAGES:
        report(f"Not calibrated: {count} validation images are too few, it takes {MIN_IMAGES}.")
        return
    repository = find_repository(run.path)
    classifier = Classifier.from_pretrained(run.path, precision="float32")
    labels = true_classes(data, classifier.config.label_names, "val")
    logits = compute_logits(classifier, data.splits["val"].files)
    temperature = fit_temperature(logits, labels)
    tensors = load_tensors(repository, classifier.config)
    name = classifier.config.architecture.classifier
    for key in (f"{name}.weight", f"{name}.bias"):
        tensors[key] = tensors[key].astype(np.float32) / np.float32(temperature)
    run.record("calibration", {"temperature": temperature, "images": count})
    write_safetensors(tensors, run.path / "model.safetensors", {"format": "pt"})
    report(f"Calibrated on {count} validation images: temperature {temperature:.3f}.")


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
    low, high = -np.log(_LIMIT), np.log(_LIMIT)  # of the inverse temperature's logarithm
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # The derivative of the loss by the inverse temperature, which grows with it.
        slope = ((softmax(logits * np.exp(middle)) - targets) * logits).sum()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return float(np.exp(-(low + high) / 2))
