import colorsys
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from training.augmentation import augment, draw
from training.recipe import MAX_SEED, Recipe

PLAIN = Recipe(
    image_size=32, train_size=32, flip=False, zoom=0.0, rotation=0.0, jitter=0.0, mixup=0.0, cutmix=0.0
)
BLEND = dataclasses.replace(PLAIN, mixup=0.4, cutmix=1.0)


def draws(recipe, count, epoch=0, first=0):
    """The draws of `count` images, batched."""
    return {name: values.numpy()[first:] for name, values in draw(recipe, epoch, first + count).items()}


def augmented(recipe, images, labels=None, epoch=0):
    labels = np.zeros(len(images), np.int64) if labels is None else labels
    images, labels = augment(
        recipe, tf.constant(images), tf.constant(labels), draws(recipe, len(images), epoch)
    )
    return images.numpy(), labels.numpy()


def noise(count, side=32):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def test_draws_are_a_function_of_seed_epoch_and_image():
    base = draws(BLEND, 4)["uniform"]
    assert draws(dataclasses.replace(BLEND, seed=MAX_SEED), 1)["uniform"].shape == (1, base.shape[1])
    assert np.array_equal(draws(BLEND, 4)["uniform"], base)
    assert np.array_equal(draws(BLEND, 2, first=2)["uniform"], base[2:])
    others = [draws(BLEND, 4, epoch=1)["uniform"], draws(dataclasses.replace(BLEND, seed=1), 4)["uniform"]]
    assert not any(np.any(other == base) for other in others)
    assert len(np.unique(base)) == base.size


def test_each_kind_of_draw_is_independent_of_the_others():
    values = draws(BLEND, 4000)
    columns = np.column_stack([values["uniform"], values["mixup"], values["cutmix"]])
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(correlation).max() < 0.07  # 4.4 standard errors of 1 / sqrt(4000)
    assert np.abs(values["uniform"].mean(0) - 0.5).max() < 0.02
    assert values["cutmix"].min() < 0.01
    assert values["cutmix"].max() > 0.99


def test_without_augmentation_pixels_and_labels_stay():
    images = noise(3)
    pixels, labels = augmented(PLAIN, images, np.array([2, 0, 1]))
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, images)
    assert np.array_equal(labels, [2, 0, 1])


def test_half_of_the_images_are_mirrored_and_the_others_stay():
    images = noise(200)
    pixels, _ = augmented(dataclasses.replace(PLAIN, flip=True), images)
    mirrored = [np.allclose(one, image[:, ::-1], atol=1e-2) for one, image in zip(pixels, images)]
    same = [np.allclose(one, image, atol=1e-2) for one, image in zip(pixels, images)]
    assert all(a != b for a, b in zip(mirrored, same))
    assert 70 < sum(mirrored) < 130


def test_each_image_of_a_batch_is_cropped_at_its_own_place():
    # A ramp tells where a crop begins.
    ramp = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"), -1)
    image = np.concatenate([ramp, np.zeros((32, 32, 1))], -1).astype(np.uint8)
    pixels, _ = augmented(dataclasses.replace(PLAIN, train_size=24), np.stack([image] * 500))
    corners = pixels[:, 0, 0, :2]
    assert np.array_equal(corners, corners.round())
    assert len({tuple(corner) for corner in corners}) > 60  # of 9 x 9 places
    assert corners.min() == 0
    assert corners.max() == 8
    assert np.array_equal(pixels[:, -1, -1, :2], corners + 23)


def test_a_mirrored_image_is_turned_either_way():
    # The angle of the brightest line through the center, of mirrored images and of the others.
    recipe = dataclasses.replace(PLAIN, flip=True, rotation=0.05)
    values = draws(recipe, 2000)["uniform"]
    flipped, angle = values[:, 0] < 0.5, values[:, 1] - 0.5
    assert abs(angle[flipped].mean()) < 0.03
    assert abs(angle[~flipped].mean()) < 0.03


def test_rotation_turns_by_the_angle_drawn():
    image = np.zeros((1, 33, 33, 3), np.uint8)
    image[0, 16, 16:] = 255  # from the center to the right
    recipe = dataclasses.replace(PLAIN, image_size=33, train_size=33, rotation=0.25)
    values = draws(recipe, 1)
    values["uniform"][0, 1] = 1.0  # the largest angle: a quarter of a circle
    pixels = augment(recipe, tf.constant(image), tf.constant([0]), values)[0].numpy()[0, :, :, 0]
    column, row = pixels[:, 16], pixels[16]
    assert column.sum() > 200 * 16
    assert row.sum() < 255 * 2


def test_zoom_magnifies_height_and_width_apart():
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 12:20, 12:20] = 255
    recipe = dataclasses.replace(PLAIN, zoom=0.5)
    values = draws(recipe, 1)
    values["uniform"][0, 2:5] = 1.0, 0.0, 0.5  # the height is doubled about the center, the width stays
    pixels = augment(recipe, tf.constant(image), tf.constant([0]), values)[0].numpy()[0, :, :, 0]
    assert 15 <= (pixels[:, 16] > 127).sum() <= 17
    assert (pixels[16] > 127).sum() == 8


@pytest.mark.parametrize("size", [32, 24])
def test_a_magnified_part_lies_anywhere_within_the_image(size):
    ramp = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"), -1)
    image = np.concatenate([ramp, np.zeros((32, 32, 1))], -1).astype(np.uint8)
    recipe = dataclasses.replace(PLAIN, train_size=size, zoom=0.5)
    values = draws(recipe, 500)
    values["uniform"][:, 2:4] = 1.0  # height and width are doubled
    pixels = augment(recipe, tf.constant(np.stack([image] * 500)), tf.zeros(500, tf.int32), values)[0].numpy()
    first, last = pixels[:, 0, 0, :2], pixels[:, -1, -1, :2]
    assert np.allclose(last - first, (size - 1) / 2, atol=0.3)
    assert 0 <= first.min() < 0.5
    assert 30.5 < last.max() <= 31
    counts = np.histogram(first, bins=4, range=(0, 32 - size / 2))[0]
    assert counts.min() > 0.6 * counts.mean()
    assert abs(np.corrcoef(first.T)[0, 1]) < 0.15


def test_a_fraction_of_the_images_loses_detail():
    images = noise(600)
    pixels, _ = augmented(dataclasses.replace(PLAIN, low_res=0.6), images)
    kept = np.array([np.array_equal(one, image) for one, image in zip(pixels, images)])
    assert 0.3 < kept.mean() < 0.5
    deviation = pixels[~kept].std(axis=(1, 2, 3))  # of noise: the fewer pixels it had, the smaller
    assert deviation.max() < 40 < pixels[kept].std(axis=(1, 2, 3)).min()
    counts = np.histogram(deviation, bins=(0, 8, 16, 40))[0]  # an eighth, a quarter and a half
    assert counts.min() > 0.8 * counts.mean()
    assert np.abs(pixels.mean(axis=(1, 2)) - images.mean(axis=(1, 2))).max() < 8, "the colors stay"


def test_color_changes_are_those_of_brightness_contrast_and_saturation():
    images = noise(20)
    recipe = dataclasses.replace(PLAIN, jitter=0.3)
    uniform = np.linspace(0, 1, 20, endpoint=False, dtype=np.float32)
    drawn = draws(recipe, 20)
    drawn["uniform"] = np.repeat(uniform[:, None], drawn["uniform"].shape[1], axis=1)
    pixels, _ = augment(recipe, tf.constant(images), tf.zeros(20, tf.int64), drawn)
    change = (2 * uniform - 1)[:, None, None, None]
    brightness, contrast, saturation = 1 + 0.15 * change, 1 + 0.3 * change, 1 + 0.3 * change
    luma = np.array([0.299, 0.587, 0.114])
    expected = brightness * images
    mean = (expected @ luma).mean(axis=(1, 2))[:, None, None, None]
    expected = contrast * expected + (1 - contrast) * mean
    expected = saturation * expected + (1 - saturation) * (expected @ luma)[..., None]
    assert np.abs(pixels.numpy() - np.clip(expected, 0, 255)).max() < 0.01


def test_color_changes_keep_range_and_hue():
    red = np.full((64, 8, 8, 3), (180, 60, 50), np.uint8)
    pixels, _ = augmented(dataclasses.replace(PLAIN, jitter=0.3), red)
    colors = np.array([colorsys.rgb_to_hsv(*pixel / 255) for pixel in pixels.mean(axis=(1, 2))])
    assert colors[:, 2].std() > 0.03
    assert 0.5 < colors[:, 1].mean() < 0.9
    assert np.minimum(colors[:, 0], 1 - colors[:, 0]).max() < 0.03
    assert np.abs(pixels.mean(0) - red[0]).max() < 12


def test_the_strongest_augmentation_stays_within_0_to_255():
    changes = {"rotation": 0.5, "jitter": 0.9, "zoom": 0.5, "low_res": 1.0, "mixup": 0.4, "cutmix": 1.0}
    recipe = Recipe(image_size=32, train_size=28, **changes)
    pixels, labels = augmented(recipe, noise(50), np.eye(2, dtype=np.float32)[np.arange(50) % 2])
    assert np.isfinite(pixels).all()
    assert pixels.shape == (50, 28, 28, 3)
    assert pixels.min() >= -0.01
    assert pixels.max() <= 255.01
    assert np.allclose(labels.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_each_image_is_blended_by_its_own_share_and_its_label_with_it(mixup, cutmix):
    # Every image has a gray of its own, so that the mean of the pixels tells the shares.
    count, recipe = 40, dataclasses.replace(PLAIN, mixup=mixup, cutmix=cutmix)
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    pixels, labels = augmented(recipe, images, np.eye(count, dtype=np.float32))
    assert np.allclose(labels.sum(1), 1, atol=1e-5)
    assert np.allclose(pixels.mean((1, 2, 3)), labels @ np.arange(count), atol=1e-3)
    own = np.diag(labels)
    blended = own[own < 1]
    assert len(np.unique(blended.round(5))) > 0.8 * len(blended) > 5
    assert (own == 1).sum() > 2  # neither of the two


def test_cutmix_replaces_a_box_of_the_share_drawn():
    recipe = dataclasses.replace(PLAIN, cutmix=1.0)
    values = draws(recipe, 2)
    values["uniform"][:, 9:12] = (0.0, 0.5, 0.5)  # CutMix, about the center
    values["cutmix"][:] = 0.75
    images = np.stack([np.zeros((32, 32, 3)), np.full((32, 32, 3), 200)]).astype(np.uint8)
    pixels, labels = augment(recipe, tf.constant(images), tf.eye(2), values)
    pixels = pixels.numpy()
    assert np.array_equal(pixels[0, 8:24, 8:24], np.full((16, 16, 3), 200))
    assert pixels[0].sum() == 200 * 16 * 16 * 3
    assert np.allclose(labels, [[0.75, 0.25], [0.25, 0.75]])
