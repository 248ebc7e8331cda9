"""Data augmentation: Keras' preprocessing layers, as a function of batches."""

from collections.abc import Callable

import tensorflow as tf
from keras import layers

from .recipe import Recipe


def make_augmentation(recipe: Recipe, side: int) -> Callable:
    """Makes the augmentation of a recipe: flip, rotation, zoom, crop, color jitter, then MixUp or CutMix.

    Args:
        recipe: The recipe.
        side: The height and width of the images in pixels, at least the recipe's train_size.

    Returns:
        A function of (batch, side, side, 3) float32 RGB images from 0 to 255 and their labels. It returns
        images of (batch, train_size, train_size, 3) and labels, which are blended if images are.
    """
    steps = _image_steps(recipe, side)
    blends = _blends(recipe)

    def augment(images, labels):
        for step in steps:
            images = step(images, training=True)
        if blends:
            data = {"images": images, "labels": labels}
            choices = [lambda blend=blend: blend(data, training=True) for blend in blends]
            data = tf.switch_case(tf.random.uniform((), 0, len(blends), tf.int32), choices)
            images, labels = data["images"], data["labels"]
        return images, labels

    return augment


def _options(recipe: Recipe) -> dict:
    # float32 under every precision policy, so that pixels are not rounded before the network sees them.
    return {"seed": recipe.seed, "dtype": "float32"}


def _image_steps(recipe: Recipe, side: int) -> list[Callable]:
    options = _options(recipe)
    steps: list[Callable] = []
    if recipe.flip:
        steps.append(layers.RandomFlip("horizontal", **options))
    if recipe.rotation:
        steps.append(layers.RandomRotation(recipe.rotation, **options))
    if recipe.zoom:
        steps.append(layers.RandomZoom((-recipe.zoom, 0.0), (-recipe.zoom, 0.0), **options))
    if recipe.train_size < side:
        steps.append(layers.RandomCrop(recipe.train_size, recipe.train_size, **options))
    if recipe.jitter:
        steps.append(_color_jitter(recipe))
    return steps


def _color_jitter(recipe: Recipe) -> Callable:
    # Keras' saturation clips at the value range, so it gets pixels in [0, 1]. Its factor 0.5 changes nothing.
    saturation = (0.5 - recipe.jitter / 2, 0.5 + recipe.jitter / 2)
    jitter = layers.RandomColorJitter(
        (0, 1), recipe.jitter / 2, recipe.jitter, saturation, **_options(recipe)
    )
    return lambda images, training: 255 * jitter(images / 255, training=training)


def _blends(recipe: Recipe) -> list[Callable]:
    """MixUp, CutMix and no blending, each with equal probability; empty if the recipe has neither."""
    blends: list[Callable] = []
    if recipe.mixup:
        blends.append(layers.MixUp(recipe.mixup, **_options(recipe)))
    if recipe.cutmix:
        blends.append(layers.CutMix(recipe.cutmix, **_options(recipe)))
    if blends:
        blends.append(lambda data, training: data)
    return blends
