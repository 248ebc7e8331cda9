"""Fits the detector of photographs that show none of the classes (`resnext.ood`) after training."""

import concurrent.futures
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from resnext.classifier import Classifier
from resnext.config import Preprocessing
from resnext.errors import DataError, ImageError
from resnext.ood import ACCEPTED, backbone_features, background, fit_detector
from resnext.preprocessing import load_pixels
from resnext.repository import Repository, load_config
from resnext.results import Detection

from .data import ImageFolders, Split
from .run_folder import RunFolder

MIN_IMAGES = 50  # from fewer validation images, no threshold can be chosen
_MAX_IMAGES = 5000  # of each split that are looked at
_ROC_POINTS = 100


def fit_run_detector(run: RunFolder, data: ImageFolders, report: Callable[[str], object]) -> None:
    """Fits the detector of a trained network (`resnext.ood.fit_detector`), and writes it beside the weights.

    Args:
        run: The output folder of `fit`, with config.json and model.safetensors.
        data: The data set, with splits "train" and "val".
        report: Called with a line on the result.

    Raises:
        ImageError: An image cannot be read.
    """
    train, val = data.splits["train"], data.splits["val"]
    if len(val) < MIN_IMAGES:
        report(
            f"No detector of unknown photographs: {len(val)} validation images are too few, it takes "
            f"{MIN_IMAGES}."
        )
        return
    preprocessing = load_config(Repository(str(run.path), run.path)).preprocessing
    basis = background()["basis"]
    train, val = _sample(train), _sample(val)
    known = compute_backbone_features(train.files, preprocessing) @ basis
    val_known = compute_backbone_features(val.files, preprocessing) @ basis
    detector, refused = fit_detector(known, train.labels, val_known, val.labels, len(data.label_names))
    detector.write(run.path)
    report(
        f"Detector of unknown photographs: it accepts {ACCEPTED:.0%} of the validation images, and refuses "
        f"{refused:.0%} of photographs of other things."
    )


def compute_backbone_features(files: Sequence[Path], preprocessing: Preprocessing) -> np.ndarray:
    """Computes the bundled backbone's features of what another network sees of image files.

    Args:
        files: The image files.
        preprocessing: The preprocessing of the other network.

    Returns:
        (images, channels) float32.

    Raises:
        ImageError: A file cannot be read as an image.
    """

    def compute(file: Path) -> np.ndarray:
        return backbone_features(load_pixels(file, preprocessing))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(compute, files)))


def _sample(split: Split) -> Split:
    chosen = np.random.default_rng(0).permutation(len(split)) < _MAX_IMAGES
    return split.select(chosen)


def measure_detector(
    classifier: Classifier,
    files: Sequence[Path],
    unknown: Sequence[Path],
    report: Callable[[str], object],
) -> Detection | None:
    """Measures how many test images, and photographs of none of the classes, a network's detector accepts.

    Args:
        classifier: The network.
        files: The test images.
        unknown: Photographs of none of the classes. Those that cannot be read are left out and counted.
        report: Called with a line on the result.

    Returns:
        The result; None if the network has no detector.

    Raises:
        ImageError: A test image cannot be read.
        DataError: None of the photographs of none of the classes can be read.
    """
    if classifier.detector is None:
        if unknown:
            report("The model has no detector of unknown photographs to test: train it again with fit.")
        return None
    known_scores = _scores(classifier, files)
    if not unknown:
        return Detection(float((known_scores >= 0).mean()))
    results = _scores(classifier, unknown, skip_bad_files=True)
    if not len(results):
        raise DataError("None of the files given with --unknown can be read as an image: give photographs.")
    if bad := len(unknown) - len(results):
        report(f"Left out of the unknown photographs: {bad} files that cannot be read.")
    detection = Detection(
        float((known_scores >= 0).mean()),
        len(results),
        float((results < 0).mean()),
        area_under_roc(known_scores, results),
        _roc(known_scores, results),
    )
    report(
        f"The detector accepts {detection.accepted:.1%} of the test images and refuses "
        f"{detection.refused:.1%} of {len(results)} photographs of other things; area under the ROC curve "
        f"{detection.auroc:.3f}."
    )
    return detection


def area_under_roc(known: np.ndarray, unknown: np.ndarray) -> float:
    """The probability that a known image has a higher score than an unknown one; ties count half.

    Args:
        known: (images,) float, the scores of images of the classes.
        unknown: (photographs,) float, the scores of photographs of none of them.
    """
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, known, "left") + np.searchsorted(ordered, known, "right")
    return float(below.mean() / 2 / len(unknown))


def _roc(known: np.ndarray, unknown: np.ndarray) -> tuple[tuple[float, float], ...]:
    thresholds = np.quantile(np.concatenate([known, unknown]), np.linspace(1, 0, _ROC_POINTS))
    points = [(float((unknown >= t).mean()), float((known >= t).mean())) for t in thresholds]
    return ((0.0, 0.0), *((round(x, 5), round(y, 5)) for x, y in points))


def _scores(classifier: Classifier, files: Sequence[Path], *, skip_bad_files: bool = False) -> np.ndarray:
    def compute(file: Path) -> float | None:
        try:
            return classifier.detector.score(load_pixels(file, classifier.config.preprocessing))
        except ImageError:
            if skip_bad_files:
                return None
            raise

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compute, files))
    return np.array([score for score in results if score is not None])
