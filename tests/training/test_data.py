import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from resnext.config import Preprocessing
from resnext.errors import DataError
from resnext.preprocessing import open_image, preprocess
from training.data import find_images
from training.pipeline import validation_batches
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
    with pytest.raises(DataError, match="2 files cannot be read as images") as error:
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
    with pytest.raises(DataError, match="has only one class, 'ant'"):
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
    images = np.concatenate([x.numpy() for x, _ in validation_batches(split, 2, PLAIN, PREPROCESSING)])
    assert np.array_equal(
        images[split.files.index(strange)], preprocess(open_image(strange, 32), PREPROCESSING)
    )


def test_a_class_whose_name_is_no_utf_8_is_named(folders):
    os.rename(folders / "train" / "ant", os.fsencode(folders / "train") + b"/caf\xe9")
    with pytest.raises(DataError, match="caf.udce9' .* is not UTF-8: rename it"):
        find_images(folders)
