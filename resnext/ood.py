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
    load_config,
    weights_digest,
)
from resnext.shapes import tensor_shapes
from resnext.weights import read_tensors

if TYPE_CHECKING:
    from resnext.classifier import Classifier


class Detector:
    """Tells photographs of a network's classes from others.

    A linear classifier on the features of the bundled backbone, which knows more kinds of things than the
    network's classes. It has a row for each class and, last, one for everything else. The photograph is
    reduced to the backbone's small size, so that its sharpness does not matter.

    Args:
        weight: (classes + 1, channels) float32.
        bias: (classes + 1,) float32.
        runtime: The runtime of the backbone, "openvino" or "keras".
    """

    def __init__(self, weight: np.ndarray, bias: np.ndarray, runtime: str = "auto"):
        self.weight = weight.astype(np.float32)
        self.bias = bias.astype(np.float32)
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
        expected = {"weight": (rows, _backbone_channels()), "bias": (rows,)}
        is_made_for_others = any(made_for.get(key) != digest for key, digest in digests.items())
        if is_made_for_others or rows < 2 or shapes != expected:
            raise WeightsError(
                f"{path} does not fit the weights, so photographs of none of the classes are not recognized: "
                "train again to make a new one."
            )
        return cls(tensors["weight"], tensors["bias"], runtime)

    def score(self, pixels: np.ndarray) -> float:
        """The score of a photograph; below 0 if it looks like none of the classes.

        Args:
            pixels: `(image_size, image_size, 3)` uint8 RGB, the input of the network.
        """
        return float(scores(self.weight, self.bias, backbone_features(pixels, self.runtime)[None])[0])

    def is_unknown(self, pixels: np.ndarray) -> bool:
        """Whether a photograph looks like none of the classes; see `score`."""
        return self.score(pixels) < 0


def scores(weight: np.ndarray, bias: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The log odds of features to be of a class: (images,) float32.

    Args:
        weight: (classes + 1, channels) float32.
        bias: (classes + 1,) float32.
        features: (images, channels) float32.
    """
    logits = features @ weight.T + bias
    return np.logaddexp.reduce(logits[:, :-1], axis=1) - logits[:, -1]


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
def _backbone_channels() -> int:
    config = load_config(find_repository(bundled_title(BACKBONE)))
    shapes = tensor_shapes(config.architecture, config.num_classes)
    return shapes[f"{config.architecture.classifier}.weight"][1]


@functools.cache
def backbone_digest() -> str:
    """The SHA-256 of the bundled backbone's weights."""
    return weights_digest(BUNDLED[BACKBONE])
