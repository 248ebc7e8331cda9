"""Batches for training and validation: decoded, cached where memory allows, shuffled by seed and epoch."""

import os

import numpy as np
import psutil
import tensorflow as tf

from resnext.config import Preprocessing
from resnext.preprocessing import centre_crop, load_pixels, open_image, resize

from .augmentation import draw
from .data import Split
from .recipe import Recipe

_CACHE_SHARE = 0.25  # of the free memory, which decoded images may take


def steps_per_epoch(split: Split, recipe: Recipe) -> int:
    """Whole batches of an epoch; the images that are left over differ from epoch to epoch."""
    return max(1, len(split) // recipe.batch_size)


def training_batches(
    split: Split, num_classes: int, recipe: Recipe, preprocessing: Preprocessing, *, first_epoch: int = 0
) -> tf.data.Dataset:
    """The batches of all epochs from `first_epoch` on, one after the other.

    What a batch holds depends on the seed, the epoch and the step alone, so that a run which resumes at an
    epoch gets the batches that it would have got.

    Args:
        split: the training images.
        num_classes: for one-hot labels.
        recipe: sizes, batch size, epochs, labels and seed.
        preprocessing: that of the network.
        first_epoch: from 0.

    Returns:
        Batches of (batch, side, side, 3) uint8 RGB, labels as `encode_labels` gives them, and the draws that
        augment the images (`augmentation.draw`). There are `steps_per_epoch` of them in an epoch.
    """
    side = preprocessing.resize_to
    images = _Images(split, side, lambda file: load_square(file, side, preprocessing.interpolation))
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
    size = preprocessing.image_size
    images = _Images(split, size, lambda file: load_pixels(file, preprocessing))

    def encode(pixels, labels):
        return tf.cast(pixels, tf.float32), encode_labels(labels, recipe.labels, num_classes)

    dataset = tf.data.Dataset.range(len(split)).map(images.load, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(recipe.batch_size).map(encode).prefetch(tf.data.AUTOTUNE)


def encode_labels(labels: tf.Tensor, kind: str, num_classes: int) -> tf.Tensor:
    """Class indices (batch,) as the loss takes them.

    Returns:
        (batch,) int64 for "int", (batch, num_classes) float32 for "categorical", (batch, 1) float32 for "binary".
    """
    if kind == "categorical":
        return tf.one_hot(labels, num_classes)
    if kind == "binary":
        return tf.cast(labels[:, None], tf.float32)
    return labels


def load_square(file: os.PathLike | str, side: int, interpolation: str) -> np.ndarray:
    """An image resized to that shorter side and center-cropped: (side, side, 3) uint8 RGB."""
    image = resize(open_image(file, side), side, interpolation)
    return np.asarray(centre_crop(image, side))


class _Images:
    """Decoded images by their place in a split; kept in memory from their first use on if all of them fit.

    Args:
        split: the images.
        side: height and width that `decode` gives.
        decode: from a path to (side, side, 3) uint8 RGB.
    """

    def __init__(self, split: Split, side: int, decode):
        self._split, self._side, self._decode = split, side, decode
        self._cache = None
        size = len(split) * side * side * 3
        if size < _CACHE_SHARE * psutil.virtual_memory().available:
            # Pages of memory are taken when an image is written to them.
            self._cache = np.empty((len(split), side, side, 3), np.uint8)
            self._cached = np.zeros(len(split), bool)

    def load(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(side, side, 3) uint8 pixels and () int64 label of the image at a place, within tf.data."""
        pixels = tf.numpy_function(self._pixels, [index], tf.uint8)
        return tf.ensure_shape(pixels, (self._side, self._side, 3)), tf.gather(self._split.labels, index)

    def _pixels(self, index: np.ndarray) -> np.ndarray:
        if self._cache is None:
            return self._decode(self._split.files[index])
        if not self._cached[index]:
            self._cache[index] = self._decode(self._split.files[index])
            self._cached[index] = True
        return self._cache[index]
