import dataclasses
import math
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnext.config import Preprocessing
from resnext.preprocessing import load_pixels
from training import pipeline
from training.data import Split
from training.pipeline import steps_per_epoch, training_batches, validation_batches
from training.recipe import Recipe

PREPROCESSING = Preprocessing(32, 1.0, "bicubic")
RECIPE = Recipe(epochs=3, batch_size=5, image_size=32, train_size=28)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Twelve images of noise in two classes, class by class."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    files = [folder / f"{index}.png" for index in range(12)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), np.uint8)).save(file)
    return Split(tuple(files), np.repeat([0, 1], 6), np.arange(12, dtype=np.uint64))


def training(split, classes, recipe, preprocessing=PREPROCESSING, **options):
    """The training batches on one device."""
    return training_batches(split, classes, recipe, preprocessing, **options).dataset


def validation(split, classes, recipe, preprocessing=PREPROCESSING):
    """The validation batches on one device."""
    return validation_batches(split, classes, recipe, preprocessing).dataset


def as_arrays(dataset):
    """The batches of a data set, as tuples of flat lists of arrays."""
    return [
        [images.numpy(), labels.numpy(), *(value.numpy() for value in draws.values())]
        for images, labels, draws in dataset
    ]


def assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        assert all(np.array_equal(one, two) for one, two in zip(batch, other, strict=True))


@pytest.fixture(params=["cached", "too large for memory"])
def memory(request, monkeypatch):
    monkeypatch.setattr(pipeline, "free_memory", lambda: 2**30 if request.param == "cached" else 0)


@pytest.mark.parametrize("labels", ["int", "categorical", "binary"])
def test_validation_batches_have_pixels_and_labels_in_order(split, labels):
    recipe = dataclasses.replace(RECIPE, labels=labels, label_smoothing=0.0, mixup=0.0, cutmix=0.0)
    batches = [[part.numpy() for part in batch] for batch in validation(split, 2, recipe)]
    images, values, counted = (np.concatenate(parts) for parts in zip(*batches))
    assert counted.tolist() == [1] * 12 + [0] * 3, "the last batch is filled"
    images, values = images[:12], values[:12]
    assert images.shape == (12, 32, 32, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert 200 < images.max() <= 255
    one_hot = np.eye(2)[split.labels]
    expected = {"int": split.labels, "categorical": one_hot, "binary": split.labels[:, None]}[labels]
    assert np.array_equal(values, expected)


@pytest.mark.parametrize("crop_pct", [1.0, 0.875, 0.7])
def test_validation_uses_exactly_the_pixels_that_are_served(split, crop_pct):
    preprocessing = Preprocessing(32, crop_pct, "bicubic")
    recipe = dataclasses.replace(RECIPE, crop_pct=crop_pct)
    batches = validation(split, 2, recipe, preprocessing)
    images = np.concatenate([images.numpy() for images, *_ in batches])[:12]
    for file, pixels in zip(split.files, images, strict=True):
        assert np.array_equal(load_pixels(file, preprocessing), pixels)


def test_training_crops_come_from_the_whole_center_square(split):
    """Not from one enlarged by 1 / crop_pct: zooming enlarges the crops."""
    images, *_ = as_arrays(training(split, 2, RECIPE, Preprocessing(32, 0.7, "bicubic")))[0]
    whole = [load_pixels(file, Preprocessing(32, 1.0, "bicubic")) for file in split.files]
    assert all(any(np.array_equal(image, pixels) for pixels in whole) for image in images)


@pytest.mark.usefixtures("memory")
def test_an_epoch_has_whole_batches_of_different_images(split):
    batches = as_arrays(training(split, 2, RECIPE))
    assert steps_per_epoch(split, RECIPE) == 2
    assert [len(images) for images, *_ in batches] == [5] * 6
    for first in (0, 2, 4):
        epoch = np.concatenate([images for images, *_ in batches[first : first + 2]])
        assert len(np.unique(epoch.reshape(10, -1), axis=0)) == 10
    orders = [np.concatenate([batch[0] for batch in batches[i : i + 2]]) for i in (0, 2, 4)]
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[1], orders[2])


@pytest.mark.usefixtures("memory")
def test_batches_are_the_same_twice_and_after_resuming(split):
    batches = as_arrays(training(split, 2, RECIPE))
    assert_equal(as_arrays(training(split, 2, RECIPE)), batches)
    assert_equal(as_arrays(training(split, 2, RECIPE, first_epoch=1)), batches[2:])
    assert_equal(as_arrays(training(split, 2, RECIPE, first_epoch=1, first_step=1)), batches[3:])
    other = as_arrays(training(split, 2, dataclasses.replace(RECIPE, seed=1)))
    assert not np.array_equal(other[0][0], batches[0][0])


def test_the_labels_and_draws_of_an_image_follow_it(split):
    pixels = {file: load_pixels(file, PREPROCESSING) for file in split.files}
    for images, labels, _ in training(split, 2, RECIPE):
        for image, label in zip(images.numpy(), labels.numpy()):
            index = next(i for i, file in enumerate(split.files) if np.array_equal(pixels[file], image))
            assert label.argmax() == split.labels[index]


@pytest.mark.usefixtures("memory")
def test_batches_mix_classes_that_come_one_after_the_other(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    split = Split((tmp_path / "black.png",) * 400, np.repeat(np.arange(4), 100), np.zeros(400, np.uint64))
    recipe = dataclasses.replace(RECIPE, batch_size=40)
    for _, labels, _ in training(split, 4, recipe):
        assert len(set(labels.numpy().argmax(1))) == 4


def test_fewer_images_than_a_batch_are_one_batch(split):
    few = split.select(np.arange(12) < 3)
    batches = as_arrays(training(few, 2, RECIPE))
    assert [len(images) for images, *_ in batches] == [3] * RECIPE.epochs


def test_several_devices_share_each_batch_without_repeating_an_image(split):
    recipe = dataclasses.replace(RECIPE, batch_size=4)
    whole = as_arrays(training(split, 2, recipe))
    for hosts, replicas in ((1, 2), (2, 2), (2, 4)):
        parts = []
        for host in range(hosts):
            context = tf.distribute.InputContext(hosts, host, replicas)
            strategy = types.SimpleNamespace(
                num_replicas_in_sync=replicas,
                distribute_datasets_from_function=lambda make, context=context: make(context),
            )
            parts.append(as_arrays(training_batches(split, 2, recipe, PREPROCESSING, strategy).dataset))
        local = replicas // hosts
        for step, batch in enumerate(whole):
            shared = [part[step * local + place] for part in parts for place in range(local)]
            assert_equal([[np.concatenate(value) for value in zip(*shared)]], [batch])


def devices(count):
    """A strategy of so many devices of one host."""
    return types.SimpleNamespace(
        num_replicas_in_sync=count,
        distribute_datasets_from_function=lambda make: make(tf.distribute.InputContext(1, 0, count)),
    )


@pytest.mark.parametrize(("images", "count"), [(7, 2), (11, 4), (4, 4)])
def test_devices_share_fewer_images_than_a_batch_equally(images, count, split):
    few = split.select(np.arange(12) < images)
    recipe = dataclasses.replace(RECIPE, batch_size=12)
    batches = as_arrays(training_batches(few, 2, recipe, PREPROCESSING, devices(count)).dataset)
    assert [len(pixels) for pixels, *_ in batches] == [images // count] * count * recipe.epochs


def test_the_last_validation_batch_is_filled_for_all_devices(split):
    recipe = dataclasses.replace(RECIPE, batch_size=8)
    few = split.select(np.arange(12) < 9)
    batches = validation_batches(few, 2, recipe, PREPROCESSING, devices(4)).dataset
    counted = np.concatenate([counted.numpy() for *_, counted in batches])
    assert counted.tolist() == [1] * 9 + [0] * 7


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "max", "memory.current": "7"}, math.inf),
        ({"memory.max": "100", "memory.current": "70", "memory.stat": "file 9\ninactive_file 20\n"}, 50),
        ({"memory.max": "100", "memory.current": "170", "memory.stat": ""}, 0),
        (
            {
                "memory/memory.limit_in_bytes": "100",
                "memory/memory.usage_in_bytes": "60",
                "memory/memory.stat": "total_inactive_file 5",
            },
            45,
        ),
        ({}, math.inf),
        ({"memory.max": "x", "memory.current": "1"}, math.inf),
    ],
)
def test_free_memory_is_within_the_limit_of_the_container(files, free, tmp_path):
    for name, text in {"memory.stat": "", **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert pipeline._free_in_container(tmp_path) == free
