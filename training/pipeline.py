"""Batches for training and validation: decoded, cached where memory allows, shuffled by seed and epoch."""

import dataclasses
import math
import pathlib
from collections.abc import Callable

import numpy as np
import psutil
import tensorflow as tf

from resnext.config import Preprocessing
from resnext.errors import ImageError
from resnext.preprocessing import load_pixels

from .augmentation import draw
from .data import Split
from .recipe import Recipe

_CACHE_SHARE = 0.25  # of the free memory, which decoded images may use


def steps_per_epoch(split: Split, recipe: Recipe) -> int:
    """The number of whole batches in an epoch. The images left over differ from epoch to epoch."""
    return max(1, len(split) // recipe.batch_size)


def training_batches(
    split: Split,
    num_classes: int,
    recipe: Recipe,
    preprocessing: Preprocessing,
    strategy: tf.distribute.Strategy | None = None,
    *,
    first_epoch: int = 0,
    first_step: int = 0,
) -> "Batches":
    """The batches of all epochs from `first_epoch` on, one after the other.

    What a batch holds depends on the seed, the epoch and the step alone, so that a run which resumes gets the
    batches that it would have got. Several devices share each batch: together they see what one would.

    Args:
        split: The training images.
        num_classes: The number of classes, for one-hot labels.
        recipe: The recipe: batch size, epochs, label format and seed.
        preprocessing: The preprocessing of the network.
        strategy: The devices. Default: one.
        first_epoch: The first epoch, from 0.
        first_step: The first step of that epoch, from 0.

    Returns:
        Batches of (batch, side, side, 3) uint8 RGB, labels as `encode_labels` gives them, and the draws that
        augment the images (`augmentation.draw`). There are `steps_per_epoch` of them in an epoch.
    """
    # The whole center square, of which the augmentation takes crops. It is not enlarged by 1 / crop_pct as
    # served images are: zooming does that (Touvron et al., 2019, arXiv:1906.06423).
    square = dataclasses.replace(preprocessing, crop_pct=1.0, crop_mode="center")
    images = ImageCache(split, square)
    replicas = strategy.num_replicas_in_sync if strategy else 1
    batch_size = min(recipe.batch_size, len(split) // replicas * replicas)
    steps = steps_per_epoch(split, recipe)

    def load(indices: tf.Tensor, draws: dict[str, tf.Tensor]):
        pixels, labels = images.load(indices)
        return pixels, encode_labels(labels, recipe.labels, num_classes), draws

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        columns, per_replica = _share(context, batch_size)

        def order(epoch: tf.Tensor) -> tf.data.Dataset:
            seed = tf.stack([tf.constant(recipe.seed, tf.int64), epoch])
            # All images, not a window of them: files come class by class, and batches of few classes mislead
            # batch norm.
            indices = tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed)
            batches = tf.reshape(indices[: steps * batch_size], [steps, batch_size])
            skipped = tf.where(epoch == first_epoch, first_step, 0)
            batches = tf.reshape(batches[skipped:, columns], [-1, per_replica])
            draws = draw(recipe, epoch, len(split))
            rows = {name: tf.gather(values, batches) for name, values in draws.items()}
            return tf.data.Dataset.from_tensor_slices((batches, rows))

        dataset = tf.data.Dataset.range(first_epoch, recipe.epochs).flat_map(order)
        dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE)

    return Batches(make, images, strategy)


def validation_batches(
    split: Split,
    num_classes: int,
    recipe: Recipe,
    preprocessing: Preprocessing,
    strategy: tf.distribute.Strategy | None = None,
) -> "Batches":
    """The images in order, prepared as they are when the network serves.

    Args:
        split: The validation images.
        num_classes: The number of classes, for one-hot labels.
        recipe: The recipe: batch size and label format.
        preprocessing: The preprocessing of the network.
        strategy: The devices, which share each batch. Default: one.

    Returns:
        Batches of (batch, image_size, image_size, 3) float32 RGB in [0, 255], labels, and (batch,) float32:
        1 for an image, 0 for one that only fills the last batch.
    """
    images = ImageCache(split, preprocessing)
    replicas = strategy.num_replicas_in_sync if strategy else 1
    batch_size = min(recipe.batch_size, -(-len(split) // replicas) * replicas)
    steps = -(-len(split) // batch_size)

    def load(indices: tf.Tensor):
        is_image = indices < len(split)
        pixels, labels = images.load(tf.where(is_image, indices, 0))
        labels = encode_labels(labels, recipe.labels, num_classes)
        return tf.cast(pixels, tf.float32), labels, tf.cast(is_image, tf.float32)

    def make(context: tf.distribute.InputContext) -> tf.data.Dataset:
        columns, per_replica = _share(context, batch_size)
        indices = np.arange(steps * batch_size).reshape(steps, batch_size)[:, columns]
        dataset = tf.data.Dataset.from_tensor_slices(indices.reshape(-1, per_replica))
        dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE)

    return Batches(make, images, strategy)


class Batches:
    """The batches of a split, and the images that they are made of.

    Args:
        make: Makes the data set of one host of a strategy.
        images: The images that it loads.
        strategy: The devices, or None for one.

    Attributes:
        dataset: What `keras.Model.fit` takes.
        images: The images that it loads.
    """

    def __init__(
        self,
        make: Callable[[tf.distribute.InputContext], tf.data.Dataset],
        images: "ImageCache",
        strategy: tf.distribute.Strategy | None,
    ):
        self.images = images
        if strategy and strategy.num_replicas_in_sync > 1:
            self.dataset = strategy.distribute_datasets_from_function(make)
        else:
            self.dataset = make(tf.distribute.InputContext())


def _share(context: tf.distribute.InputContext, batch_size: int) -> tuple[slice, int]:
    """The part of each batch that one host loads, and how many images of it each of its devices gets."""
    per_host = batch_size // context.num_input_pipelines
    start = context.input_pipeline_id * per_host
    return slice(start, start + per_host), batch_size // context.num_replicas_in_sync


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
    """Memory in bytes that this process may still allocate: without swapping, within its container."""
    return min(psutil.virtual_memory().available, _free_in_container(pathlib.Path("/sys/fs/cgroup")))


def _free_in_container(cgroup: pathlib.Path) -> float:
    """What a Linux control group (version 2 or 1) leaves of its memory limit; infinite without a limit."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            text = (cgroup / limit).read_text().strip()
            most = math.inf if text == "max" else int(text)
            now = int((cgroup / used).read_text())
            statistics = (cgroup / used).with_name("memory.stat").read_text().split()
        except (OSError, ValueError):
            continue
        # Files that the system keeps in memory are given back when they are in the way.
        kept = int(statistics[statistics.index(cache) + 1]) if cache in statistics else 0
        return max(0, most - now + kept)
    return math.inf


class ImageCache:
    """Decoded images by their place in a split; kept in memory from their first use on if all of them fit.

    Args:
        split: The images.
        preprocessing: How they are prepared.

    Attributes:
        fault: The error of an image that could not be read. TensorFlow passes on only a part of it.
    """

    def __init__(self, split: Split, preprocessing: Preprocessing):
        self.fault: ImageError | None = None
        self._split = split
        self._preprocessing = preprocessing
        side = preprocessing.image_size
        self._shape = (side, side, 3)
        self._cache = None
        if len(split) * side * side * 3 < _CACHE_SHARE * free_memory():
            # The operating system provides a page of memory when an image is written to it.
            self._cache = np.empty((len(split), *self._shape), np.uint8)
            self._cached = np.zeros(len(split), bool)

    def load(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Loads the images at some places, within tf.data.

        Args:
            indices: (batch,) int.

        Returns:
            (batch, side, side, 3) uint8 pixels, and (batch,) int64 labels.
        """
        pixels = tf.numpy_function(self._pixels, [indices], tf.uint8)
        pixels = tf.ensure_shape(pixels, (indices.shape[0], *self._shape))
        return pixels, tf.gather(self._split.labels, indices)

    def _pixels(self, indices: np.ndarray) -> np.ndarray:
        if self._cache is None:
            return np.stack([self._decode(index) for index in indices])
        for index in indices[~self._cached[indices]]:
            self._cache[index] = self._decode(index)
            self._cached[index] = True
        return self._cache[indices]

    def _decode(self, index: int) -> np.ndarray:
        try:
            return load_pixels(self._split.files[index], self._preprocessing)
        except ImageError as error:
            self.fault = error
            raise
