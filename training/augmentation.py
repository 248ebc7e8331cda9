"""Augmentation of training images as a pure function of the seed, the epoch and the image.

The random numbers of all images are drawn in the input pipeline from (seed, epoch), so that they do not
depend on threads, on the batch, or on how often a run was interrupted. `augment` only computes with them, on
the device that trains the network.
"""

import math
from typing import Any

import tensorflow as tf

from .recipe import Recipe

# Independent uniform numbers in [0, 1) of each image, by what they are for.
_UNIFORM = (
    "flip",
    "rotation",
    "zoom_height",
    "zoom_width",
    "top",
    "left",
    "brightness",
    "contrast",
    "saturation",
    "blend",
    "box_y",
    "box_x",
    "detail",
)
# Rec. 601 luma, as Pillow's and torchvision's grayscale (and so their saturation) has it.
_LUMA = (0.299, 0.587, 0.114)


def draw(recipe: Recipe, epoch: tf.Tensor, images: int) -> dict[str, tf.Tensor]:
    """Draws the random numbers that augment all images in one epoch.

    Args:
        recipe: The recipe: seed, and the alphas of MixUp and CutMix.
        epoch: The epoch, () int from 0.
        images: The number of images.

    Returns:
        `uniform`, (images, 13) float32 in [0, 1), and `mixup` and `cutmix`, (images,) float32 in [0, 1], from
        Beta(alpha, alpha).
    """
    seed = tf.constant([recipe.seed, 0], tf.int64)
    seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(epoch, tf.int64))
    streams = tf.unstack(tf.random.split(seed, 3))
    return {
        "uniform": tf.random.stateless_uniform([images, len(_UNIFORM)], streams[0]),
        "mixup": _beta(recipe.mixup, images, streams[1]),
        "cutmix": _beta(recipe.cutmix, images, streams[2]),
    }


def augment(
    recipe: Recipe, images: tf.Tensor, labels: tf.Tensor, draws: dict[str, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augments a batch: mirror, turn, zoom, crop, detail, color, blend.

    Args:
        recipe: The recipe: how strong each change is.
        images: (batch, side, side, 3) uint8 or float RGB in [0, 255].
        labels: (batch,) int, or (batch, classes) float, which blending needs.
        draws: The draws of each image: rows of `draw`.

    Returns:
        (batch, train_size, train_size, 3) float32 RGB in [0, 255], and the labels, blended as the images are.
    """
    uniform = dict(zip(_UNIFORM, tf.unstack(draws["uniform"], axis=1), strict=True))
    images = _transform(recipe, tf.cast(images, tf.float32), uniform)
    if recipe.low_res:
        images = _lose_detail(images, recipe.low_res, uniform)
    if recipe.jitter:
        images = _jitter(images, recipe.jitter, uniform)
    if recipe.mixup or recipe.cutmix:
        images, labels = _blend(recipe, images, labels, uniform, draws)
    return images, labels


def _transform(recipe, images, uniform):
    """Mirror, rotation, zoom and crop as one affine resampling, so that pixels are interpolated once."""
    side, size = images.shape[1], min(recipe.train_size, images.shape[1])
    if not (recipe.flip or recipe.rotation or recipe.zoom or size < side):
        return images
    mirror = tf.where(uniform["flip"] < 0.5, -1.0, 1.0) if recipe.flip else tf.ones_like(uniform["flip"])
    angle = _between(uniform["rotation"], recipe.rotation) * 2 * math.pi
    tall = 1 - recipe.zoom * uniform["zoom_height"]
    wide = 1 - recipe.zoom * uniform["zoom_width"]
    # The affine map from a pixel of the output to one of the input, about the centers of both: a window of
    # tall * size by wide * size pixels of the input becomes the output.
    # input = center of the window + mirror * scale * rotation * (output - center of the output).
    cos, sin = tf.cos(angle), tf.sin(angle)
    a0, a1 = mirror * wide * cos, -mirror * wide * sin
    b0, b1 = tall * sin, tall * cos
    half = (size - 1) / 2
    a2 = _window_center(uniform["left"], side, size, wide) - half * (a0 + a1)
    b2 = _window_center(uniform["top"], side, size, tall) - half * (b0 + b1)
    zero = tf.zeros_like(a0)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _window_center(uniform, side, size, scale):
    """The center of a window of scale * size pixels that lies anywhere within `side` pixels.

    Without zoom it starts at a whole pixel, so that an image which is only cropped is not interpolated.
    """
    return _whole(uniform, side - size) + (size - 1) / 2 + (uniform - 0.5) * (1 - scale) * size


def _lose_detail(images, fraction, uniform):
    """Reduces a fraction of the images, each third of it to a half, a quarter or an eighth of the size, and
    enlarges them again.
    """
    factors = (8, 4, 2)
    kept = len(factors)
    kind = tf.cast(tf.minimum(uniform["detail"] * kept / fraction, kept), tf.int32)
    *parts, others = tf.dynamic_partition(images, kind, kept + 1)
    for place, factor in enumerate(factors):
        small = tf.nn.avg_pool2d(parts[place], factor, factor, "SAME")
        parts[place] = tf.image.resize(small, images.shape[1:3])
    order = tf.dynamic_partition(tf.range(tf.shape(images)[0]), kind, kept + 1)
    return tf.dynamic_stitch(order, [*parts, others])


def _jitter(images, strength, uniform):
    """Brightness, contrast and saturation, as torchvision's ColorJitter computes them, one after another:

        images = brightness * images
        images = contrast * images + (1 - contrast) * mean(gray(images))
        images = saturation * images + (1 - saturation) * gray(images)

    Gray is linear, so that one multiplication of the images is enough.
    """

    def factor(name, amount):
        return (1 + _between(uniform[name], amount))[:, None, None, None]

    brightness = factor("brightness", strength / 2)
    contrast = factor("contrast", strength)
    saturation = factor("saturation", strength)
    gray = brightness * _gray(images)
    mean = tf.reduce_mean(gray, axis=(1, 2), keepdims=True)
    shift = contrast * (1 - saturation) * gray + (1 - contrast) * mean
    return tf.clip_by_value(brightness * contrast * saturation * images + shift, 0.0, 255.0)


def _blend(recipe, images, labels, uniform, draws):
    """MixUp (arXiv:1710.09412) or CutMix (arXiv:1905.04899) of each image with the next one of its batch.

    Each image draws which of the two it gets, or neither, and its own share. Both are a mask of what is kept
    of the image: MixUp's is one number, CutMix's is 0 in a box and 1 around it.
    """
    kinds = [name for name, alpha in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)) if alpha]
    kind = tf.cast(uniform["blend"] * (len(kinds) + 1), tf.int32)
    mask = tf.ones_like(images[..., :1])
    if "mixup" in kinds:
        share = tf.where(kind == kinds.index("mixup"), draws["mixup"], 1.0)
        mask *= share[:, None, None, None]
    if "cutmix" in kinds:
        chosen = (kind == kinds.index("cutmix"))[:, None, None, None]
        mask = tf.where(chosen, 1 - _boxes(images.shape[1], draws["cutmix"], uniform), mask)
    partners = tf.roll(images, -1, axis=0)
    share = tf.reduce_mean(mask, axis=(1, 2))
    labels = share * labels + (1 - share) * tf.roll(labels, -1, axis=0)
    return mask * images + (1 - mask) * partners, labels


def _boxes(size, share, uniform):
    """(batch, size, size, 1) float32, 1 in a box with 1 - share of the area, clipped at the border."""
    half = tf.sqrt(1 - share)[:, None] / 2
    places = (tf.range(size, dtype=tf.float32)[None] + 0.5) / size
    rows = tf.cast(tf.abs(places - uniform["box_y"][:, None]) < half, tf.float32)
    columns = tf.cast(tf.abs(places - uniform["box_x"][:, None]) < half, tf.float32)
    return rows[:, :, None, None] * columns[:, None, :, None]


def _beta(alpha: float, count: int, seed: Any) -> tf.Tensor:
    """(count,) numbers from Beta(alpha, alpha), as shares of two Gamma(alpha) numbers; 1 if alpha is 0."""
    if not alpha:
        return tf.ones(count)
    one, other = tf.unstack(tf.random.stateless_gamma([count, 2], seed, alpha), axis=1)
    # Both round to 0 now and then for a small alpha; the image is then left alone.
    return tf.where(one + other > 0, one / tf.maximum(one + other, 1e-30), 1.0)


def _between(uniform, limit):
    """From [0, 1) to [-limit, limit)."""
    return (2 * uniform - 1) * limit


def _whole(uniform, largest):
    """From [0, 1) to a whole number from 0 to `largest`; a product that rounds up stays within."""
    return tf.minimum(tf.floor(uniform * (largest + 1)), largest)


def _gray(images):
    return tf.reduce_sum(images * tf.constant(_LUMA), axis=-1, keepdims=True)
