"""The tf.data pipeline: from image files to the batches that the network is trained on."""

import dataclasses
import os

import tensorflow as tf

from resnext.config import Preprocessing
from resnext.preprocessing import load_pixels

from .augmentation import make_augmentation
from .data import Split
from .recipe import Recipe

MAX_SHUFFLED = 10_000  # decoded images in the buffer of the shuffle


def make_dataset(
    split: Split, num_classes: int, recipe: Recipe, preprocessing: Preprocessing, *, training: bool
) -> tf.data.Dataset:
    """Makes a tf.data pipeline of batches.

    Args:
        split: The images.
        num_classes: The number of classes, for one-hot labels.
        recipe: The recipe: sizes, batch size, label format, augmentation and seed.
        preprocessing: The preprocessing of the network.
        training: Whether images are shuffled, and cropped at random to train_size with augmentation.
            Otherwise they stay in order, with exactly the pixels that are served.

    Returns:
        Batches of (batch, size, size, 3) float32 RGB pixels from 0 to 255, and labels: (batch,) int64,
        (batch, num_classes) float32 ("categorical") or (batch, 1) float32 ("binary").
    """
    if training:  # the whole center square: the augmentation crops
        preprocessing = dataclasses.replace(
            preprocessing, image_size=preprocessing.resize_to, crop_pct=1.0, crop_mode="center"
        )
    side = preprocessing.image_size

    def decode(file, label):
        image = tf.numpy_function(
            lambda path: load_pixels(os.fsdecode(path), preprocessing), [file], tf.uint8
        )
        return tf.ensure_shape(image, (side, side, 3)), label

    def prepare(images, labels):
        if recipe.labels == "categorical":
            labels = tf.one_hot(labels, num_classes)
        elif recipe.labels == "binary":
            labels = tf.cast(labels[:, None], tf.float32)
        return tf.cast(images, tf.float32), labels

    dataset = tf.data.Dataset.from_tensor_slices(([os.fsencode(file) for file in split.files], split.labels))
    if training:
        # Names are small enough to shuffle all of them. They come class by class, and batches of few classes
        # would mislead batch norm.
        dataset = dataset.shuffle(len(split), seed=recipe.seed)
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    if len(split) * side * side * 3 < _free_memory() / 4:
        dataset = dataset.cache()
        if training:  # the cache repeats the order of the first epoch
            dataset = dataset.shuffle(min(len(split), MAX_SHUFFLED), seed=recipe.seed)
    dataset = dataset.batch(recipe.batch_size, drop_remainder=training and len(split) >= recipe.batch_size)
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    if training:
        dataset = dataset.map(make_augmentation(recipe, side), num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _free_memory() -> int:
    """Free memory in bytes."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
