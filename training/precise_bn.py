"""Precise batch norm: the statistics of a trained network on images as it will see them."""

import concurrent.futures
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from resnext.classifier import Classifier
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import WeightsError
from resnext.keras_model import build_model, dtype_policy
from resnext.metrics import fit_temperature, scores
from resnext.preprocessing import load_pixels
from resnext.repository import find_repository, load_config, load_tensors
from resnext.results import best_epoch, read_history
from resnext.weights import convert_tensors, keras_tensors, load_into_keras, save_tensors

from .data import ImageFolders
from .evaluate import compute_logits, true_classes
from .optimizer import freeze_stages
from .recipe import Recipe
from .run_folder import RunFolder

_BATCH_SIZE = 32


def recompute_batch_norm(
    run: RunFolder, data: ImageFolders, recipe: Recipe, report: Callable[[str], object]
) -> None:
    """Computes the statistics of batch norm again, on training images that are prepared as served ones are.

    Those of the training come from augmented and blended crops, and from weights that still changed (Wu &
    Johnson, 2021, arXiv:2105.07576). The new ones are kept if the validation loss is lower, each at its best
    temperature, and the validation accuracy is not.

    Args:
        run: The output folder of `fit`, with config.json, model.safetensors and history.csv.
        data: The data set, with splits "train" and "val".
        recipe: The recipe: the number of images, the seed, and which stages are frozen.
        report: Called with a line on the result.

    Raises:
        ImageError: An image cannot be read.
    """
    if not recipe.keep_last and not best_epoch(read_history(run.path))["epoch"]:
        return  # the linear probe was better than every epoch: the network is the pretrained one
    repository = find_repository(run.path)
    config = load_config(repository)
    before = load_tensors(repository, config)
    split = data.splits["train"]
    chosen = np.random.default_rng(recipe.seed).permutation(len(split))[: recipe.precise_bn]
    after = compute_statistics(config, before, [split.files[index] for index in chosen], recipe.freeze_at)
    files = data.splits["val"].files
    labels = true_classes(data, config.label_names, "val")
    accuracy, loss = _score(config, before, files, labels)
    new_accuracy, new_loss = _score(config, after, files, labels)
    line = (
        f"Batch norm statistics computed again on {len(chosen)} training images: validation accuracy from "
        f"{accuracy:.4f} to {new_accuracy:.4f}, calibrated loss from {loss:.4f} to {new_loss:.4f}"
    )
    if new_accuracy >= accuracy and new_loss < loss:
        save_tensors(after, run.path / "model.safetensors", "float16")
        report(f"{line}.")
    else:
        report(f"{line}, so they are not kept.")


def compute_statistics(
    config: ModelConfig, tensors: dict[str, np.ndarray], files: Sequence[Path], freeze_at: int
) -> dict[str, np.ndarray]:
    """Computes the statistics of batch norm as the averages of those of batches of images.

    Args:
        config: The config of the network.
        tensors: Its weights, under timm's names.
        files: The images.
        freeze_at: The number of stages next to the input whose statistics stay.

    Returns:
        The weights as float16 with the new statistics.

    Raises:
        ImageError: A file cannot be read as an image.
    """
    with dtype_policy("float32"):
        network = build_model(
            config.architecture,
            label_names=config.label_names,
            preprocessing=config.preprocessing,
            name=config.name,
        )
    load_into_keras(network, tensors)
    freeze_stages(network, freeze_at)
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    layers = [layer for layer in layers if layer.trainable]
    for layer in layers:
        layer.momentum = 0.0  # its moving statistics are those of the last batch
    means = [np.zeros(layer.moving_mean.shape) for layer in layers]
    squares = [np.zeros(layer.moving_mean.shape) for layer in layers]
    side = config.preprocessing.image_size
    forward = tf.function(
        lambda images: network(images, training=True),
        input_signature=[tf.TensorSpec((None, side, side, 3), tf.float32)],
    )
    batches = np.array_split(np.arange(len(files)), -(-len(files) // _BATCH_SIZE))
    for batch in batches:
        forward(_load([files[index] for index in batch], config.preprocessing))
        for layer, mean, square in zip(layers, means, squares):
            batch_mean = layer.moving_mean.numpy().astype(np.float64)
            mean += batch_mean / len(batches)
            square += (layer.moving_variance.numpy() + batch_mean**2) / len(batches)
    for layer, mean, square in zip(layers, means, squares):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square - mean**2, 0))
    return convert_tensors(keras_tensors(network), "float16")


def _load(files: Sequence[Path], preprocessing: Preprocessing) -> np.ndarray:
    """Loads images as (images, image_size, image_size, 3) float32 RGB in [0, 255]."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        images = list(pool.map(lambda file: load_pixels(file, preprocessing), files))
    return np.stack(images).astype(np.float32)


def _score(
    config: ModelConfig, tensors: dict[str, np.ndarray], files: Sequence[Path], labels: np.ndarray
) -> tuple[float, float]:
    """Accuracy, and loss at the temperature that fits best; the worst ones if an output is not finite."""
    try:
        logits = compute_logits(Classifier(config, tensors, precision="float32"), files)
    except WeightsError:
        return 0.0, math.inf
    result = scores(logits / fit_temperature(logits, labels), labels)
    return result["top1"], result["loss"]
