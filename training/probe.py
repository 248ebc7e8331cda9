"""The linear probe of `fit`: features of the pretrained network, and the classifier that fits them best."""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from resnext.classifier import Classifier
from resnext.config import ModelConfig
from resnext.errors import ImageError, WeightsError
from resnext.linear_probe import PATIENCE, LinearProbe, pool
from resnext.repository import Repository, load_config, load_tensors
from resnext.results import best_epoch
from resnext.stream import infer_images

from .data import ImageFolders, Split
from .losses import class_weights
from .recipe import Recipe


class ProbeResult(NamedTuple):
    """A fitted classifier.

    Args:
        rows: The rows of history.csv, one for each pass over the features.
        weight: (classes, channels) float32, after the pass with the lowest validation loss.
        bias: (classes,) float32.
    """

    rows: list[dict[str, float]]
    weight: np.ndarray
    bias: np.ndarray


def fit_probe(
    data: ImageFolders,
    config: ModelConfig,
    recipe: Recipe,
    pretrained: Repository,
    report: Callable[[str], object],
) -> ProbeResult:
    """Fits a classifier to the features of a pretrained network, which stays as it is.

    Args:
        data: The data set, with splits "train" and "val".
        config: The config of the new network, whose preprocessing the features are computed with.
        recipe: The recipe: passes, flip and class weights.
        pretrained: The pretrained network.
        report: Called with each line of progress.

    Raises:
        ImageError: An image was removed or changed since it was found.
        WeightsError: A feature is NaN or infinite, or all features are the same in all images.
    """
    began = time.monotonic()
    train, val = data.splits["train"], data.splits["val"]
    classifier = open_at(pretrained, config)
    features = compute_features(classifier, train, mirrored=recipe.flip)
    val_features = compute_features(classifier, val)[:, 0]
    views = features.shape[1]
    # Each view apart: an image and its mirror image differ, even if all images are the same.
    if not np.isfinite(features).all() or np.ptp(features, axis=0).max() < 1e-6:
        raise WeightsError(
            f"The features of {pretrained.name} are not finite, or the same in all images: start from "
            "another network, or look at the images."
        )
    report(
        f"Features of {len(train) + len(val)} images from {pretrained.name}: "
        f"{time.monotonic() - began:.0f} s."
    )
    weights = class_weights(data.counts("train")) if recipe.class_weights == "balanced" else None
    probe = LinearProbe(
        features.reshape(-1, features.shape[-1]), np.repeat(train.labels, views), config.num_classes, weights
    )
    rows: list[dict[str, float]] = []
    best = probe.classifier()
    for number in range(1, recipe.probe_passes + 1):
        scores = probe.run_pass(val_features, val.labels)
        seconds = time.monotonic() - began
        began += seconds
        rows.append(
            {"epoch": number, **scores._asdict(), "learning_rate": probe.step_size, "seconds": seconds}
        )
        if best_epoch(rows) is rows[-1]:
            best = probe.classifier()
        elif number - best_epoch(rows)["epoch"] >= PATIENCE:
            break
    row = best_epoch(rows)
    report(
        f"Linear probe: val_loss {row['val_loss']:.4f}  val_accuracy {row['val_accuracy']:.4f} after "
        f"{row['epoch']} passes, {sum(row['seconds'] for row in rows):.0f} s."
    )
    return ProbeResult(rows, *best)


def open_at(pretrained: Repository, config: ModelConfig) -> Classifier:
    """Opens a network with the preprocessing of another config."""
    base = dataclasses.replace(load_config(pretrained), preprocessing=config.preprocessing)
    return Classifier(base, load_tensors(pretrained, base), repository=pretrained)


def compute_features(classifier: Classifier, split: Split, *, mirrored: bool = False) -> np.ndarray:
    """Computes the pooled features of images.

    Args:
        classifier: The network.
        split: The images.
        mirrored: Whether to look at the mirror image of each image, too.

    Returns:
        (images, views, channels) float32, with 1 view or 2.

    Raises:
        ImageError: An image cannot be read.
    """
    features = []
    for _, output in infer_images(classifier, split.files, mirrored=mirrored):
        if isinstance(output, ImageError):
            raise output
        features.append(pool(output))
    return np.stack(features).reshape(len(split), 1 + mirrored, -1)
