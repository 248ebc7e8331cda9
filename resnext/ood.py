"""Out-of-distribution detection: whether a photograph looks like none of a network's classes."""

import functools
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import safetensors
from PIL import Image

from resnext.errors import WeightsError, file_name, file_step
from resnext.linear_probe import LinearProbe, pool
from resnext.repository import (
    BACKBONE,
    BUNDLED,
    OOD,
    bundled_title,
    find_repository,
    weights_digest,
)
from resnext.weights import read_tensors, write_safetensors

BACKGROUND = "background.safetensors"  # in the backbone's repository
# The backbone looks at photographs at the size of the images that it was trained on: an enlarged image is
# known by its lack of sharpness.
SIZE = 64
ACCEPTED = 0.95  # of the images that the threshold is chosen by
_SHRINKAGE = 0.1  # of the covariance within classes, toward a multiple of the identity
_DISTANCE_WEIGHT = 0.5  # of the distance's deviation, in deviations of the log odds
_FOLDS = 5

if TYPE_CHECKING:
    from resnext.classifier import Classifier


class Detector:
    """Tells photographs of a network's classes from others.

    It looks at the features of the bundled backbone, which knows more kinds of things than the network's
    classes, as coordinates in the basis of `background`. The photograph is reduced to `SIZE`, so that its
    sharpness does not matter. The score is the log odds that a linear classifier gives to
    all classes against everything else, less the squared Mahalanobis distance to the nearest class.

    Args:
        weight: (classes + 1, dimensions), of the linear classifier. The last row is everything else.
        bias: (classes + 1,), of the linear classifier; the threshold is a part of the last one.
        means: (classes, dimensions), the mean coordinates of classes.
        whitening: (dimensions, dimensions), by which differences are multiplied before their length is taken.
        runtime: The runtime of the backbone, "openvino" or "keras".
    """

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray,
        means: np.ndarray,
        whitening: np.ndarray,
        runtime: str = "auto",
    ):
        self.weight = weight.astype(np.float32)
        self.bias = bias.astype(np.float32)
        self.means = means.astype(np.float32)
        self.whitening = whitening.astype(np.float32)
        self.runtime = runtime

    @classmethod
    def read(cls, folder: pathlib.Path, runtime: str = "auto") -> "Detector | None":
        """Reads the detector of a model repository. Returns None if it has none.

        Args:
            folder: The model repository.
            runtime: The runtime of the backbone, "openvino" or "keras".

        Raises:
            WeightsError: It is corrupt, or was made for other weights or another backbone.
        """
        path = folder / OOD
        if not path.is_file():
            return None
        tensors = read_tensors(path)
        with safetensors.safe_open(path, "numpy") as file:
            made_for = file.metadata() or {}
        digests = {"weights_sha256": weights_digest(folder), "backbone_sha256": backbone_digest()}
        shapes = {key: value.shape for key, value in tensors.items()}
        rows = len(tensors.get("weight", ()))
        dimensions = background()["basis"].shape[1]
        expected = {
            "weight": (rows, dimensions),
            "bias": (rows,),
            "means": (len(tensors.get("means", ())), dimensions),
            "whitening": (dimensions, dimensions),
        }
        is_made_for_others = any(made_for.get(key) != digest for key, digest in digests.items())
        if is_made_for_others or rows < 2 or shapes != expected:
            raise WeightsError(
                f"{file_name(path)} does not fit the weights: "
                f"{file_step(path, 'train again to make a new one')}."
            )
        return cls(**tensors, runtime=runtime)

    def write(self, folder: pathlib.Path) -> None:
        """Writes the detector beside the weights of a model repository, which it then belongs to."""
        tensors = {"weight": self.weight, "means": self.means, "whitening": self.whitening}
        tensors = {key: value.astype(np.float16) for key, value in tensors.items()}
        write_safetensors(
            {**tensors, "bias": self.bias},
            folder / OOD,
            {"weights_sha256": weights_digest(folder), "backbone_sha256": backbone_digest()},
        )

    def score(self, pixels: np.ndarray) -> float:
        """The score of a photograph; below 0 if it looks like none of the classes.

        Args:
            pixels: `(image_size, image_size, 3)` uint8 RGB, the input of the network.
        """
        coordinates = backbone_features(pixels, self.runtime)[None] @ background()["basis"]
        return float(self.scores(coordinates)[0])

    def scores(self, coordinates: np.ndarray) -> np.ndarray:
        """The scores of photographs: (images,) float32.

        Args:
            coordinates: (images, dimensions) float32, of the backbone's features of the photographs.
        """
        log_odds = class_log_odds(self.weight, self.bias, coordinates)
        return log_odds - class_distances(self.means, self.whitening, coordinates)

    def is_unknown(self, pixels: np.ndarray) -> bool:
        """Whether a photograph looks like none of the classes; see `score`."""
        return self.score(pixels) < 0


def fit_detector(
    known: np.ndarray, labels: np.ndarray, val_known: np.ndarray, val_labels: np.ndarray, num_classes: int
) -> tuple[Detector, float]:
    """Fits a detector.

    A linear classifier on the bundled backbone's features learns the classes and, as one more class, the
    things that the backbone was trained on (outlier exposure, Hendrycks et al., 2019, arXiv:1812.04606); the
    Mahalanobis distance to the nearest class is subtracted (Lee et al., 2018, arXiv:1807.03888). The
    threshold accepts `ACCEPTED` of the validation images.

    Args:
        known: (images, dimensions) float32, the coordinates of training images.
        labels: (images,) int, their classes.
        val_known: (val_images, dimensions) float32, the coordinates of validation images.
        val_labels: (val_images,) int, their classes.
        num_classes: The number of classes, some of which may have no image.

    Returns:
        The detector, and the fraction of photographs of other things that it refuses, in [0, 1].
    """
    others = background()["coordinates"]
    # A fifth of the others are for validation.
    held_out = np.arange(len(others)) % _FOLDS == 0
    probe = _outlier_probe(known, labels, num_classes, others[~held_out])
    weight, bias = probe.fit(
        np.concatenate([val_known, others[held_out]]),
        np.append(val_labels, np.full(held_out.sum(), num_classes)),
    )
    means, whitening = _class_statistics(known, labels)
    log_odds = class_log_odds(weight, bias, val_known)
    distances = class_distances(means, whitening, val_known)
    detector = _assemble(weight, bias, means, whitening, log_odds, distances)
    return detector, float((detector.scores(others[held_out]) < 0).mean())


def cross_validate_detector(known: np.ndarray, labels: np.ndarray) -> Detector:
    """Fits a detector as `fit_detector` does, with the images of each of five folds for validation in turn.

    Args:
        known: (images, dimensions) float32, the coordinates of images, at least two of each class.
        labels: (images,) int, their classes, from 0 and without gaps.
    """
    others = background()["coordinates"]
    order = np.argsort(labels, kind="stable")
    folds = np.empty(len(labels), int)
    folds[order] = np.arange(len(labels)) % _FOLDS
    all_folds = np.append(folds, np.arange(len(others)) % _FOLDS)
    probe = _outlier_probe(known, labels, int(labels.max()) + 1, others, all_folds)
    weight, bias, logits = probe.cross_validate()
    logits = logits[: len(known)]
    log_odds = np.logaddexp.reduce(logits[:, :-1], axis=1) - logits[:, -1]
    distances = np.empty(len(known), np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        statistics = _class_statistics(known[~inside], labels[~inside])
        distances[inside] = class_distances(*statistics, known[inside])
    return _assemble(weight, bias, *_class_statistics(known, labels), log_odds, distances)


def _outlier_probe(
    known: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    others: np.ndarray,
    folds: np.ndarray | None = None,
) -> LinearProbe:
    """The linear classifier of the classes, and of everything else as one more class."""
    return LinearProbe(
        np.concatenate([known, others]),
        np.append(labels, np.full(len(others), num_classes)),
        num_classes + 1,
        # The others count as much as all classes together.
        np.append(np.ones(num_classes), len(known) / len(others)),
        folds,
    )


def _assemble(
    weight: np.ndarray,
    bias: np.ndarray,
    means: np.ndarray,
    whitening: np.ndarray,
    log_odds: np.ndarray,
    distances: np.ndarray,
) -> Detector:
    """Makes a detector whose distances and threshold fit the log odds and distances of validation images."""
    scale = _DISTANCE_WEIGHT * log_odds.std() / max(float(distances.std()), 1e-6)
    bias = bias.copy()
    bias[-1] += np.quantile(log_odds - scale * distances, 1 - ACCEPTED)
    weight, means, whitening = (
        value.astype(np.float16) for value in (weight, means, whitening * np.sqrt(scale))
    )
    return Detector(weight, bias, means, whitening)


def _class_statistics(known: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of the classes that have images, and the whitening of differences from them."""
    present, places = np.unique(labels, return_inverse=True)
    means = np.stack([known[labels == label].mean(axis=0) for label in present])
    return means, _whitening(known - means[places])


def _whitening(differences: np.ndarray) -> np.ndarray:
    """Makes differences from their class' mean of unit covariance: (dimensions, dimensions) float32."""
    covariance = differences.T @ differences / len(differences)
    dimensions = len(covariance)
    spherical = np.eye(dimensions) * np.trace(covariance) / dimensions
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * spherical
    return np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)


def class_log_odds(weight: np.ndarray, bias: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """The log odds of images to be of any class and not of the last row: (images,) float32.

    Args:
        weight: (classes + 1, dimensions) float32.
        bias: (classes + 1,) float32.
        coordinates: (images, dimensions) float32.
    """
    logits = coordinates @ weight.T + bias
    return np.logaddexp.reduce(logits[:, :-1], axis=1) - logits[:, -1]


def class_distances(means: np.ndarray, whitening: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """The squared distances of images to the nearest class (Lee et al., 2018, arXiv:1807.03888).

    Args:
        means: (classes, dimensions) float32.
        whitening: (dimensions, dimensions) float32.
        coordinates: (images, dimensions) float32.

    Returns:
        (images,) float32.
    """
    nearest = np.full(len(coordinates), np.inf, np.float32)
    whitened = coordinates @ whitening
    for mean in means @ whitening:
        nearest = np.minimum(nearest, np.square(whitened - mean).sum(axis=1))
    return nearest


def backbone_features(pixels: np.ndarray, runtime: str = "auto") -> np.ndarray:
    """Computes the bundled backbone's pooled features of a network's input: (channels,) float32.

    Their square roots are scaled to the length 1 (Arandjelovic & Zisserman, 2012, "Three things everyone
    should know to improve object retrieval"): what counts is which features a photograph has, not how strong
    they are.

    Args:
        pixels: `(image_size, image_size, 3)` uint8 RGB.
        runtime: "auto", "openvino" or "keras".
    """
    reduced = Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    roots = np.sqrt(np.maximum(pool(open_backbone(runtime).run(np.asarray(reduced))), 0))
    return roots / max(float(np.linalg.norm(roots)), 1e-6)


@functools.cache
def open_backbone(runtime: str = "auto") -> "Classifier":
    """Opens the bundled backbone, once for all models of a process."""
    from resnext.classifier import Classifier

    repository = find_repository(bundled_title(BACKBONE))
    return Classifier.open(repository, image_size=SIZE, precision="float32", runtime=runtime)


@functools.cache
def background() -> dict[str, np.ndarray]:
    """Reads the bundled backbone's features of photographs of many kinds of things.

    Returns:
        "basis": (channels, dimensions) float32; and "coordinates" in it: (images, dimensions) float32.
    """
    tensors = read_tensors(BUNDLED[BACKBONE] / BACKGROUND)
    return {key: value.astype(np.float32) for key, value in tensors.items()}


@functools.cache
def backbone_digest() -> str:
    """The SHA-256 of the bundled backbone's weights."""
    return weights_digest(BUNDLED[BACKBONE])
