"""Calibration: one temperature for all logits, so that probabilities match accuracies (arXiv:1706.04599)."""

from collections.abc import Callable

import numpy as np

from resnext.classifier import Classifier
from resnext.metrics import MIN_CALIBRATION_IMAGES, fit_temperature
from resnext.repository import find_repository, load_tensors, weights_digest
from resnext.weights import write_safetensors

from .data import ImageFolders
from .evaluate import compute_logits, true_classes
from .run_folder import RunFolder


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
    if count < MIN_CALIBRATION_IMAGES:
        report(f"Not calibrated: {count} validation images are too few, it takes {MIN_CALIBRATION_IMAGES}.")
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
    write_safetensors(tensors, run.path / "model.safetensors", {"format": "pt"})
    # An interrupted run gets its uncalibrated weights back: the digest says that this is not theirs.
    calibration = {"temperature": temperature, "images": count, "weights_sha256": weights_digest(run.path)}
    run.record("calibration", calibration)
    report(f"Calibrated on {count} validation images: temperature {temperature:.3f}.")
