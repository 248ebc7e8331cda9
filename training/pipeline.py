"""Batches for training and validation: decoded, cached where memory allows, shuffled by seed and epoch."""

import dataclasses

import numpy as np
import psutil
import tensorflow as tf

from resnext.config import Preprocessing
from resnext.preprocessing import load_pixels

from .augmentation import draw
from .data import Split
from .recipe import Recipe

_CACHE_SHARE = 0.25  # of the free memory, which decoded images may use


def steps_per_epoch(split: Split, recipe: Recipe) -> int:
    """The number of whole batches in an epoch. The images left over differ from epoch to epoch."""
    return max(1, len(split) // recipe.batch_size)


def training_batches(
    split: Split, num_classes: int, recipe: Recipe, preprocessing: Preprocessing, *, first_epoch: int = 0
) -> tf.data.Dataset:
    """The batches of all epochs from `first_epoch` on, one after the other.

    What a batch holds depends on the seed, the epoch and the step alone, so that a run which resumes at an
    epoch gets the batches that it would have got.

    Args:
        split: The training images.
        num_classes: The number of classes, for one-hot labels.
        recipe: The recipe: batch size, epochs, label format and seed.
        preprocessing: The preprocessing of the network.
        first_epoch: The first epoch, from 0.

    Returns:
        Batches of (batch, side, side, 3) uint8 RGB, labels as `encode_labels` gives them, and the draws that
        augment the images (`augmentation.draw`). There are `steps_per_epoch` of them in an epoch.
    """
    # The whole center square: the augmentation crops.
    square = dataclasses.replace(
        preprocessing, image_size=preprocessing.resize_to, crop_pct=1.0, crop_mode="center"
    )
    images = _Images(split, square)
    batch_size = min(recipe.batch_size, len(split))
    taken = steps_per_epoch(split, recipe) * batch_size

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch])
        # All images, not a window of them: files come class by class, and batches of few classes mislead
        # batch norm.
        indices = tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed)[:taken]
        return tf.data.Dataset.from_tensor_slices((indices, tf.fill([taken], epoch)))

    def load(index: tf.Tensor, epoch: tf.Tensor):
        return *images.load(index), draw(recipe, epoch, index)

    dataset = tf.data.Dataset.range(first_epoch, recipe.epochs).flat_map(order)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)

    def encode(images, labels, draws):
        return images, encode_labels(labels, recipe.labels, num_classes), draws

    return dataset.map(encode).prefetch(tf.data.AUTOTUNE)


def validation_batches(
    split: Split, num_classes: int, recipe: Recipe, preprocessing: Preprocessing
) -> tf.data.Dataset:
    """The images in order, prepared as they are when the network serves.

    Returns:
        Batches of (batch, image_size, image_size, 3) float32 RGB in [0, 255], and labels.
    """
    images = _Images(split, preprocessing)

    def encode(pixels, labels):
        return tf.cast(pixels, tf.float32), encode_labels(labels, recipe.labels, num_classes)

    dataset = tf.data.Dataset.range(len(split)).map(images.load, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(recipe.batch_size).map(encode).prefetch(tf.data.AUTOTUNE)


def encode_labels(labels: tf.Tensor, kind: str, num_classes: int) -> tf.Tensor:
    """Class indices (batch,) as the loss takes them.

    Returns:
        (batch,) int64 for "int", (batch, num_classes) float32 for "categorical", or (batch, 1) float32 for
        "binary".
    """
    if kind == "categorical":
        return tf.one_hot(labels, num_classes)
    if kind == "binary":
        return tf.cast(labels[:, None], tf.float32)
    return labels


def free_memory() -> int:
    """Memory in bytes that this process may still allocate without swapping."""
    return psutil.virtual_memory().available


class _Images:
    """Decoded images by their place in a split; kept in memory from their first use on if all of them fit.

    Args:
        split: The images.
        preprocessing: How they are prepared.
    """

    def __init__(self, split: Split, preprocessing: Preprocessing):
        self._split = split
        self._preprocessing = preprocessing
        side = preprocessing.image_size
        self._shape = (side, side, 3)
        self._cache = None
        if len(split) * side * side * 3 < _CACHE_SHARE * free_memory():
            # The operating system provides a page of memory when an image is written to it.
            self._cache = np.empty((len(split), *self._shape), np.uint8)
            self._cached = np.zeros(len(split), bool)

    def load(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(side, side, 3) uint8 pixels and () int64 label of the image at a place, within tf.data."""
        pixels = tf.numpy_function(self._pixels, [index], tf.uint8)
        return tf.ensure_shape(pixels, self._shape), tf.gather(self._split.labels, index)

    def _pixels(self, index: np.ndarray) -> np.ndarray:
        if self._cache is None:
            return load_pixels(self._split.files[index], self._preprocessing)
        if not self._cached[index]:
            self._cache[index] = load_pixels(self._split.files[index], self._preprocessing)
            self._cached[index] = True
        return self._cache[index]
