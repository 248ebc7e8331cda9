import itertools
import pathlib
import shutil

import numpy as np
import pytest
from rich.cells import cell_len

from tests.training.test_data import needs_posix, paint, paint_splits
from training.data import ImageFolders, Split, find_images
from training.overview import find_problems, overview

ROOT = pathlib.Path("data")


def data_of(label_names, counts, split_folders=("train", "val", "test"), skipped=None):
    """A data set of files that do not exist: the images of each class by split."""
    splits = {}
    numbering = itertools.count()
    for split, numbers in counts.items():
        labels = np.repeat(np.arange(len(label_names)), numbers)
        files = tuple(
            ROOT / split / label_names[label] / f"{index}.jpg" for index, label in enumerate(labels)
        )
        digests = np.fromiter(itertools.islice(numbering, len(files)), np.uint64)
        splits[split] = Split(files, labels, digests)
    return ImageFolders(ROOT, tuple(label_names), splits, split_folders, skipped or {})


def test_the_table_has_a_row_for_each_class_and_a_column_for_each_split():
    data = data_of(["ant", "bumblebee"], {"train": [120, 80], "val": [10, 0], "test": [7, 8]})
    assert overview(data)[:4] == [
        "class      train  val  test",
        "ant          120   10     7",
        "bumblebee     80    0     8",
        "2 classes    200   10    15",
    ]


def test_columns_are_aligned_under_names_of_wide_characters():
    table = overview(data_of(["ant", "山茶花山茶花", "cafe\u0301"], {"train": [20, 20, 20]}))[:4]
    assert len({cell_len(line) for line in table}) == 1


def test_of_two_hundred_classes_the_table_has_the_largest_and_the_smallest():
    names = [f"class {index:03}" for index in range(200)]
    lines = overview(data_of(names, {"train": np.arange(10, 210)}))
    assert [line.split()[1] for line in lines[1:16]] == [f"{index:03}" for index in range(199, 184, -1)]
    assert lines[16] == "... 170 more"
    assert [line.split()[1] for line in lines[17:32]] == [f"{index:03}" for index in range(14, -1, -1)]
    assert lines[32].split() == ["200", "classes", str(sum(range(10, 210)))]
    assert len(lines) == 34  # and one warning


def test_a_split_by_content_is_said(tmp_path):
    for label in ("ant", "bee"):
        paint(tmp_path / "data" / label, 60)
    assert "Split by content: 70% train, 15% val, 15% test." in overview(find_images(tmp_path / "data"))


def test_a_validation_set_that_is_taken_from_train_is_said(tmp_path):
    data = find_images(paint_splits(tmp_path / "data", ("train", "test"), counts=(60, 3)))
    assert "There is no val folder: 15% of train are used as val, split by content." in overview(data)
    assert len(overview(data_of(["ant"], {"test": [20]}, split_folders=("test",)))) == 3


def test_what_is_left_out_is_counted_by_reason_with_examples(tmp_path):
    root = paint_splits(tmp_path / "data", counts=(20, 20, 20))
    for index in range(5):
        (root / "train" / "ant" / f"{index} notes.txt").write_text("x")
    (root / "labels\n.csv").write_text("x")
    paint(root / "@eaDir", 1)
    lines = [line for line in overview(find_images(root, skip_bad_files=True)) if "Left out" in line]
    assert lines == [
        "Left out: 1 x hidden or system file or folder (@eaDir)",
        "Left out: 1 x file outside of the class folders (labels\N{REPLACEMENT CHARACTER}.csv)",
        "Left out: 5 x file that cannot be read as an image (train/ant/0 notes.txt, train/ant/1 notes.txt, "
        "train/ant/2 notes.txt and 2 more)",
    ]


def test_nothing_is_said_of_a_data_set_without_faults(tmp_path):
    data = find_images(paint_splits(tmp_path / "data", counts=(10, 2, 2)))
    assert find_problems(data) == []
    assert len(overview(data)) == 4


@pytest.mark.parametrize(
    ("split", "other", "name"),
    [("valid", "train", "val"), ("test", "train", "test"), ("test", "valid", "test")],
)
def test_identical_images_in_two_splits_are_warned_of(tmp_path, split, other, name):
    root = paint_splits(tmp_path / "data", counts=(10, 4, 4))
    for index in range(4):
        shutil.copy(root / other / "bee" / f"{index:03}.png", root / split / "bee" / f"copy {index}.png")
    twin = "val" if other == "valid" else other
    assert find_problems(find_images(root)) == [
        f"4 images of {name} are also in {twin} ({split}/bee/copy 0.png is {other}/bee/000.png): results on "
        f"{name} are too good."
    ]


def test_an_identical_image_in_two_classes_is_warned_of(tmp_path):
    root = paint_splits(tmp_path / "data", counts=(10, 4, 4))
    shutil.copy(root / "train" / "bee" / "003.png", root / "train" / "ant" / "same.png")
    assert find_problems(find_images(root)) == [
        "1 image is in more than one class (train/ant/same.png is train/bee/003.png)."
    ]


def test_an_identical_image_twice_in_a_class_is_not_warned_of(tmp_path):
    root = paint_splits(tmp_path / "data", counts=(10, 4, 4))
    shutil.copy(root / "train" / "bee" / "003.png", root / "train" / "bee" / "same.png")
    assert find_problems(find_images(root)) == []


def test_classes_that_are_missing_in_a_split_are_warned_of():
    data = data_of(["ant", "bee", "cat"], {"train": [20, 20, 20], "val": [1, 1, 0], "test": [0, 0, 1]})
    assert find_problems(data) == [
        "val has no images of 1 class: cat.",
        "test has no images of 2 classes: ant, bee.",
    ]


def test_classes_of_fewer_than_ten_training_images_are_warned_of():
    names = [f"class {index}" for index in range(8)]
    data = data_of(names, {"train": [10, 9, 9, 9, 9, 9, 9, 1], "val": [3] * 8})
    assert find_problems(data) == [
        "fewer than 10 training images of 7 classes: class 1, class 2, class 3, class 4, class 5 and 2 more."
    ]


def test_an_imbalance_above_ten_to_one_is_warned_of():
    assert find_problems(data_of(["ant", "bee"], {"train": [120, 12]})) == []
    assert find_problems(data_of(["ant", "bee"], {"train": [121, 12]})) == [
        "ant has 121 training images, bee 12: consider --class-weights balanced."
    ]


def test_a_class_with_the_name_of_a_split_is_warned_of():
    data = data_of(["car", "plane", "Train"], {"train": [20, 20, 20]}, split_folders=())
    assert find_problems(data) == ["Train is taken as a class: for a split, it would hold class folders."]


def test_names_of_classes_that_differ_only_by_case_are_warned_of():
    data = data_of(["Ant", "ant", "bee"], {"train": [20, 20, 20]})
    assert find_problems(data) == [
        "'Ant' and 'ant' are different classes: if they are one, give their folders the same name."
    ]


@needs_posix
def test_names_with_control_characters_stay_on_their_line(tmp_path):
    root = paint_splits(tmp_path / "data", ("train", "val"), ("a\nb", "A\nB", "bee"), counts=(3, 1))
    paint(root / "train" / "bee", 40)
    paint(root / "test" / "bee", 1)
    for split in ("train", "val"):
        shutil.copy(root / "train" / "bee" / "000.png", root / split / "a\nb" / "x\x1b[2J.png")
    lines = overview(find_images(root))
    assert all(line.isprintable() for line in lines)
    table, warnings = lines[:5], lines[5:]
    assert [line.split()[0] for line in table] == ["class", "A\ufffdB", "a\ufffdb", "bee", "3"]
    words = (
        "also in train",
        "more than one class",
        "test has no",
        "fewer than 10",
        "consider",
        "different cl",
    )
    assert len(warnings) == len(words)
    assert all(word in line for word, line in zip(words, warnings))
