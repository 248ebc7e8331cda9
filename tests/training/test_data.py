import colorsys
import dataclasses
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from resnext.config import Preprocessing
from resnext.errors import DataError
from resnext.preprocessing import open_image, preprocess
from training import data
from training.data import Split, find_images, make_dataset
from training.recipe import Recipe

PLAIN = Recipe(
    batch_size=4,
    image_size=32,
    train_size=32,
    crop_pct=1.0,
    flip=False,
    zoom=0.0,
    rotation=0.0,
    jitter=0.0,
    mixup=0.0,
    cutmix=0.0,
)

PREPROCESSING = Preprocessing(32, 1.0, "bicubic")


def paint(folder, count, size=(48, 40)):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(str(folder)))
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).save(folder / f"{index:02}.png")


@pytest.fixture
def folders(tmp_path):
    for split, count in (("train", 6), ("valid", 2), ("test", 3)):
        for label in ("bee", "ant"):
            paint(tmp_path / split / label, count)
    return tmp_path


def test_classes_are_sorted_and_valid_is_a_name_of_val(folders):
    data = find_images(folders)
    assert data.label_names == ("ant", "bee")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "val": 4, "test": 6}
    for split in data.splits.values():
        assert [data.label_names[label] for label in split.labels] == [
            file.parent.name for file in split.files
        ]


def test_one_folder_of_classes_is_split_by_the_seed_class_by_class(tmp_path):
    for label in ("ant", "bee"):
        paint(tmp_path / label, 20)
    data, again, other = (find_images(tmp_path, seed=seed) for seed in (1, 1, 2))
    for name, count in (("train", 14), ("val", 3), ("test", 3)):
        assert list(np.bincount(data.splits[name].labels)) == [count, count]
        assert data.splits[name].files == again.splits[name].files
    assert data.splits["test"].files != other.splits["test"].files
    files = [file for split in data.splits.values() for file in split.files]
    assert len(set(files)) == len(files) == 40


def test_train_without_val_gives_some_of_its_images_to_it(tmp_path):
    for label in ("ant", "bee"):
        paint(tmp_path / "train" / label, 20)
    data = find_images(tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 34, "val": 6}


def test_the_fingerprint_is_that_of_the_files(folders):
    before = find_images(folders).fingerprint()
    assert find_images(folders).fingerprint() == before
    (folders / "train" / "ant" / "00.png").unlink()
    assert find_images(folders).fingerprint() != before


def test_all_bad_files_are_named_in_one_error(folders):
    bad = [folders / "train" / "ant" / "zz.jpg", folders / "test" / "bee" / "notes.txt"]
    bad[0].write_bytes(b"\xff\xd8 broken")
    bad[1].write_text("hello")
    with pytest.raises(DataError, match="2 files are no readable images") as error:
        find_images(folders)
    assert all(str(error.value).count(str(file)) == 1 for file in bad)
    assert "--skip-bad-files" in str(error.value)
    data = find_images(folders, skip_bad_files=True)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "val": 4, "test": 6}


def test_hidden_files_and_thumbnails_of_the_system_are_no_images(folders):
    (folders / "train" / "ant" / ".DS_Store").write_bytes(b"x")
    (folders / "train" / "ant" / "Thumbs.db").write_bytes(b"x")
    (folders / "train" / ".cache").mkdir()
    assert len(find_images(folders).splits["train"]) == 12


def test_folders_that_cannot_be_used_are_named(tmp_path, folders):
    with pytest.raises(DataError, match="is not a folder"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        find_images(tmp_path / "none")
    paint(tmp_path / "one" / "ant", 3)
    with pytest.raises(DataError, match="the one class 'ant'"):
        find_images(tmp_path / "one")
    paint(tmp_path / "few" / "ant", 2)
    paint(tmp_path / "few" / "bee", 9)
    with pytest.raises(DataError, match="'ant' .* only 2 images"):
        find_images(tmp_path / "few")
    (folders / "train" / "cat").mkdir()
    with pytest.raises(DataError, match="differ in class 'cat'"):
        find_images(folders)
    for split in ("valid", "test"):
        paint(folders / split / "cat", 1)
    with pytest.raises(DataError, match="Class 'cat' has no images in train"):
        find_images(folders)
    (folders / "val").mkdir()
    with pytest.raises(DataError, match="both val/ and valid/"):
        find_images(folders)


@pytest.mark.parametrize("labels", ["int", "categorical", "binary"])
def test_batches_are_pixels_and_labels_of_the_kind_asked_for(folders, labels):
    recipe = dataclasses.replace(PLAIN, labels=labels, label_smoothing=0.0)
    split = find_images(folders).splits["test"]
    dataset = make_dataset(split, 2, recipe, PREPROCESSING, training=False)
    images, values = (np.concatenate(parts) for parts in zip(*((x.numpy(), y.numpy()) for x, y in dataset)))
    assert images.shape == (6, 32, 32, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert 200 < images.max() <= 255
    expected = {"int": split.labels, "categorical": np.eye(2)[split.labels], "binary": split.labels[:, None]}[
        labels
    ]
    assert np.array_equal(values, expected)


@pytest.mark.parametrize("crop_pct", [1.0, 0.875, 0.7])
def test_validation_sees_exactly_the_pixels_that_the_page_sees(folders, crop_pct):
    recipe, prep = dataclasses.replace(PLAIN, crop_pct=crop_pct), Preprocessing(32, crop_pct, "bicubic")
    split = find_images(folders).splits["val"]
    images = np.concatenate([x.numpy() for x, _ in make_dataset(split, 2, recipe, prep, training=False)])
    for file, pixels in zip(split.files, images, strict=True):
        assert np.array_equal(preprocess(open_image(file, prep.resize_to), prep), pixels)


def test_training_batches_are_shuffled_and_whole(folders):
    split = find_images(folders).splits["train"]
    dataset = make_dataset(split, 2, dataclasses.replace(PLAIN, batch_size=5), PREPROCESSING, training=True)
    epochs = [[y.numpy().argmax(1).tolist() for _, y in dataset] for _ in range(3)]
    assert all([len(batch) for batch in epoch] == [5, 5] for epoch in epochs)
    assert any(epoch[0] != [0] * 5 for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("free", [2**30, 0], ids=["cached", "too large for memory"])
def test_batches_mix_classes_also_of_data_sets_larger_than_the_shuffle_s_buffer(tmp_path, monkeypatch, free):
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    split = Split((tmp_path / "black.png",) * 400, np.repeat(np.arange(4), 100))  # class by class
    monkeypatch.setattr(data, "MAX_SHUFFLED", 10)
    monkeypatch.setattr(data, "_free_memory", lambda: free)
    dataset = make_dataset(split, 4, dataclasses.replace(PLAIN, batch_size=40), PREPROCESSING, training=True)
    for _ in range(2):
        assert all(len(set(y.numpy().argmax(1))) == 4 for _, y in dataset)


def test_augmentation_changes_pixels_but_neither_their_range_nor_their_hue(tmp_path):
    for label in ("ant", "bee"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for index in range(16):
            Image.new("RGB", (48, 48), (180, 60, 50)).save(tmp_path / "train" / label / f"{index}.png")
    recipe = Recipe(batch_size=8, image_size=32, train_size=28, mixup=0.0, cutmix=0.0)
    split = find_images(tmp_path).splits["train"]
    images = np.concatenate(
        [x.numpy() for x, _ in make_dataset(split, 2, recipe, PREPROCESSING, training=True)]
    )
    assert images.shape[1:] == (28, 28, 3)
    assert images.min() >= 0
    assert images.max() <= 255.01
    colours = np.array([colorsys.rgb_to_hsv(*pixel / 255) for pixel in images.mean(axis=(1, 2))])
    assert colours[:, 2].std() > 0.01, "brightness varies"
    assert 0.5 < colours[:, 1].mean() < 0.9, "saturation is kept on the whole"
    assert np.minimum(colours[:, 0], 1 - colours[:, 0]).max() < 0.08, "red stays red"


@pytest.mark.slow
def test_blended_labels_still_add_up_to_one(folders):
    recipe = dataclasses.replace(PLAIN, mixup=0.4, cutmix=1.0)
    split = find_images(folders).splits["train"]
    labels = np.concatenate(
        [y.numpy() for _ in range(6) for _, y in make_dataset(split, 2, recipe, PREPROCESSING, training=True)]
    )
    assert np.allclose(labels.sum(1), 1, atol=1e-5)
    assert ((labels > 0.05) & (labels < 0.95)).any()


def test_a_large_truncated_jpeg_is_a_bad_file(folders):
    path = folders / "train" / "ant" / "large.jpg"
    Image.effect_noise((1200, 900), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match="large.jpg cannot be read as an image: image file is truncated"):
        find_images(folders)


def test_files_whose_names_are_no_utf_8_are_found_and_read(folders):
    strange = pathlib.Path(os.fsdecode(os.fsencode(folders / "test" / "ant") + b"/caf\xe9.png"))
    (folders / "test" / "ant" / "00.png").rename(strange)
    data = find_images(folders)
    split = data.splits["test"]
    assert strange in split.files
    assert len(data.fingerprint()) == 64
    images = np.concatenate(
        [x.numpy() for x, _ in make_dataset(split, 2, PLAIN, PREPROCESSING, training=False)]
    )
    assert np.array_equal(
        images[split.files.index(strange)], preprocess(open_image(strange, 32), PREPROCESSING)
    )


def test_a_class_whose_name_is_no_utf_8_is_named(folders):
    os.rename(folders / "train" / "ant", os.fsencode(folders / "train") + b"/caf\xe9")
    with pytest.raises(DataError, match="caf.udce9' .* is not UTF-8: rename it"):
        find_images(folders)


@pytest.mark.slow
def test_the_strongest_augmentation_stays_within_0_to_255(folders):
    recipe = Recipe(
        batch_size=4, image_size=32, train_size=28, rotation=0.5, jitter=0.9, mixup=0.4, cutmix=1.0
    )
    split = find_images(folders).splits["train"]
    for _ in range(3):
        for images, _ in make_dataset(split, 2, recipe, PREPROCESSING, training=True):
            pixels = images.numpy()
            assert np.isfinite(pixels).all()
            assert pixels.min() >= -0.01
            assert pixels.max() <= 255.01
