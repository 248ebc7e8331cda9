"""Out-of-distribution detection: whether a photograph looks like none of a network's classes."""

import functools
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import safetensors
from PIL import Image

from resnext.errors import WeightsError
from resnext.linear_probe import pool
from resnext.repository import (
    BACKBONE,
    BUNDLED,
    OOD,
    bundled_title,
    find_repository,
    weights_digest,
)
from resnext.weights import read_tensors

BACKGROUND = "background.safetensors"  # in the backbone's repository

if TYPE_CHECKING:
    from resnext.classifier import Classifier


class Detector:
    """Tells photographs of a network's classes from others.

    It looks at the features of the bundled backbone, which knows more kinds of things than the network's
    classes, as coordinates in the basis of `background`. The photograph is reduced to the backbone's small
    size, so that its sharpness does not matter. The score is the log odds that a linear classifier gives to
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
                f"{path} does not fit the weights, so photographs of none of the classes are not recognized: "
                "train again to make a new one."
            )
        return cls(**tensors, runtime=runtime)

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

    Args:
        pixels: `(image_size, image_size, 3)` uint8 RGB.
        runtime: "auto", "openvino" or "keras".
    """
    backbone = open_backbone(runtime)
    size = backbone.config.preprocessing.image_size
    reduced = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
    return pool(backbone.run(np.asarray(reduced)))


@functools.cache
def open_backbone(runtime: str = "auto") -> "Classifier":
    """Opens the bundled backbone, once for all models of a process."""
    from resnext.classifier import Classifier

    repository = find_repository(bundled_title(BACKBONE))
    return Classifier.open(repository, precision="float32", runtime=runtime)


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
