"""`evaluate --suspects`: the images whose label a network doubts most, by cross-validation."""

from collections.abc import Callable

import numpy as np

from resnext.classifier import Classifier
from resnext.config import ModelConfig
from resnext.linear_probe import LinearProbe, softmax
from resnext.repository import BACKBONE, bundled_title, find_repository
from resnext.results import Suspect

from .data import ImageFolders
from .probe import compute_features, open_at

FOLDS = 5
MAX_SUSPECTS = 100


def find_suspects(
    data: ImageFolders, config: ModelConfig, report: Callable[[str], object]
) -> list[tuple[int, Suspect]]:
    """Finds the images whose label a classifier doubts that has not seen them.

    Linear probes on the features of the bundled backbone, which knows no label of these images, classify each
    fifth of all images after they were fitted to the others. An image is a suspect if it is classified as
    another class, the more so the lower the probability of its label (cross-validated self-confidence,
    Northcutt et al., 2021, arXiv:1911.00068).

    Args:
        data: The data set. All splits are looked at. Classes with fewer images than `FOLDS` are left out.
        config: The config of the network that is evaluated, for its preprocessing.
        report: Called with a line for each of the first suspects, and what was left out.

    Returns:
        Up to `MAX_SUSPECTS` pairs of an index into `data.merged().files` and its suspect, those with the
        lowest probability of their label first.

    Raises:
        ImageError: A file cannot be read as an image.
    """
    images = data.merged()
    counts = np.bincount(images.labels, minlength=len(data.label_names))
    large = np.flatnonzero(counts >= FOLDS)
    if small := int((counts[counts > 0] < FOLDS).sum()):
        report(f"Not looked for suspects in {small} classes with fewer than {FOLDS} images.")
    if len(large) < 2:
        report("No suspects were looked for: it takes two classes.")
        return []
    places = np.flatnonzero(np.isin(images.labels, large))
    backbone: Classifier = open_at(find_repository(bundled_title(BACKBONE)), config)
    features = compute_features(backbone, images)[places, 0]
    labels = np.searchsorted(large, images.labels[places])
    probabilities = cross_validate(features, labels, len(large))
    suspects = []
    for place in doubted(probabilities, labels)[:MAX_SUSPECTS]:
        index = int(places[place])
        suspect = Suspect(
            images.files[index].relative_to(data.root).as_posix(),
            data.label_names[images.labels[index]],
            data.label_names[large[probabilities[place].argmax()]],
            round(float(probabilities[place, labels[place]]), 6),
        )
        suspects.append((index, suspect))
    return suspects


def cross_validate(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Classifies each image by a linear probe that was fitted without it.

    Args:
        features: (images, channels) float32.
        labels: (images,) int, with at least `FOLDS` images of each class.
        num_classes: The number of classes.

    Returns:
        (images, num_classes) float32 probabilities.
    """
    rng = np.random.default_rng(0)
    folds = np.empty(len(labels), int)
    for label in range(num_classes):
        places = rng.permutation(np.flatnonzero(labels == label))
        folds[places] = np.arange(len(places)) % FOLDS
    probabilities = np.empty((len(labels), num_classes), np.float32)
    for fold in range(FOLDS):
        held_out = folds == fold
        val = folds == (fold + 1) % FOLDS  # decides when to stop
        train = ~(held_out | val)
        probe = LinearProbe(features[train], labels[train], num_classes)
        weight, bias = probe.fit(features[val], labels[val])
        probabilities[held_out] = softmax(features[held_out] @ weight.T + bias)
    return probabilities


def doubted(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Finds the images that are classified as another class than their label's.

    Args:
        probabilities: (images, classes) float, of a classifier that has not seen these images.
        labels: (images,) int, the classes that the images are in.

    Returns:
        Their indices, those with the lowest probability of their label first.
    """
    own = probabilities[np.arange(len(labels)), labels]
    places = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return places[np.argsort(own[places], kind="stable")]
