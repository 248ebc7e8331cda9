import contextlib
import hashlib
import itertools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image

from resnext.config import Preprocessing
from resnext.errors import DataError
from resnext.preprocessing import open_image, preprocess
from tests.helpers.image_corpus import colors, heic, tiff
from tests.helpers.users import other_user
from training import data as data_module
from training.data import Split, check_trainable, divide, find_images
from training.folders import (
    BROKEN_LINK,
    HIDDEN,
    LOOSE,
    NOT_A_FILE,
    REPEATED_FOLDER,
    REPOSITORY,
    SPLITS,
)
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
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")


def paint(folder, count, first=0):
    """Writes images whose content depends on the folder's name, its parent's and their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(first, first + count):
        seed = zlib.crc32(f"{folder.parent.name}/{folder.name}/{index}".encode(errors="surrogateescape"))
        pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")
    return folder


def paint_splits(root, names=("train", "valid", "test"), classes=("bee", "ant"), counts=(6, 2, 3)):
    for split, count in zip(names, counts):
        for label in classes:
            paint(root / split / label, count)
    return root


@pytest.fixture
def root(tmp_path):
    """The folder of a data set. Its name is always the same, so that the images are, too."""
    return tmp_path / "data"


@pytest.fixture
def folders(root):
    return paint_splits(root)


def sizes(data):
    return {name: len(split) for name, split in data.splits.items()}


def left_out(data):
    """The paths that were left out, relative to the root, by the reason."""
    return {
        reason: [path.relative_to(data.root).as_posix() for path in paths]
        for reason, paths in data.skipped.items()
    }


def split_of_each_image(data):
    """The name of the split of each image, by its content."""
    return {int(digest): name for name, split in data.splits.items() for digest in split.digests}


def fault(root):
    """The message of the error that a data set gets when a network is to be trained on it."""
    with pytest.raises(DataError) as error:
        check_trainable(find_images(root))
    return str(error.value)


# The folders of the splits


def test_classes_are_sorted_and_valid_is_a_name_of_val(folders):
    data = find_images(folders)
    assert data.label_names == ("ant", "bee")
    assert sizes(data) == {"train": 12, "val": 4, "test": 6}
    for split in data.splits.values():
        assert [data.label_names[label] for label in split.labels] == [
            file.parent.name for file in split.files
        ]
        assert list(split.digests) == [
            int.from_bytes(hashlib.sha256(file.read_bytes()).digest()[:8], "big") for file in split.files
        ]
    assert data.split_folders == ("train", "val", "test")
    check_trainable(data)


def test_files_at_any_depth_of_a_class_folder_are_in_order(root, monkeypatch):
    for name in ("b", "a/2/x", "a/1", "a"):
        paint(root / name, 1)
    paint(root / "b", 60, first=1)
    monkeypatch.chdir(root)
    data = find_images(pathlib.Path("."))
    files = [
        file.as_posix() for split in data.splits.values() for file in split.files if file.parts[0] == "a"
    ]
    assert sorted(files) == ["a/000.png", "a/1/000.png", "a/2/x/000.png"]
    assert data.label_names == ("a", "b")
    assert all(list(split.files) == sorted(split.files) for split in data.splits.values())


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("Train", "Validation", "Test"),
        ("TRAINING", "VALIDATE", "TESTING"),
        ("train", "Dev", "TEST"),
    ],
    ids="-".join,
)
def test_splits_are_known_by_all_their_names_in_any_case(root, names):
    data = find_images(paint_splits(root, names))
    assert sizes(data) == {"train": 12, "val": 4, "test": 6}
    assert data.label_names == ("ant", "bee")


def test_a_folder_beside_the_splits_is_named(folders):
    paint(folders / "holdout" / "ant", 2)
    assert "holdout/ beside it is not a split: name it train, val or test, or move it" in fault(folders)


@pytest.mark.parametrize("names", [("val", "valid"), ("Train", "train"), ("test", "testing")])
def test_two_folders_of_one_split_are_both_named(root, names):
    paint_splits(root, ("train", *names))
    if len([*root.iterdir()]) < len({"train", *names}):
        pytest.skip("this file system does not distinguish case")
    assert f"has both {names[0]}/ and {names[1]}/: keep one" in fault(root)


def test_a_class_may_be_called_train(root):
    for label in ("car", "plane", "train"):
        paint(root / label, 30)
    data = find_images(root)
    assert data.label_names == ("car", "plane", "train")
    assert sum(sizes(data).values()) == 90
    check_trainable(data)


@pytest.mark.parametrize(
    "names",
    [
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("TrainSet", "ValSet"),
        ("train2017", "val2017"),
        ("trainset", "testset"),
    ],
)
def test_folders_with_names_similar_to_splits_are_not_classes(root, names):
    paint_splits(root, names)
    paint(root / "seg_pred", 1)
    assert f"has {names[0]}/, {names[1]}/, which seem to be splits: name them train, " in fault(root)


def test_a_folder_around_the_splits_is_named(root):
    paint_splits(root / "flowers")
    assert f"give {root / 'flowers'} itself as the data" in fault(root)


def test_splits_inside_of_the_classes_are_refused(root):
    for label in ("ant", "bee"):
        paint_splits(root / label, classes=("",))
    message = fault(root)
    assert f"{root / 'ant'} holds train/, valid/, test/" in message
    assert "put it into the splits (train/ant/)" in message


@pytest.mark.parametrize("split", ["", "train"])
def test_a_folder_around_the_classes_is_hinted_at(root, split):
    for label in ("ant", "bee"):
        paint(root / split / "flowers" / label, 20)
    message = f"{root} has only one class, 'flowers': a classifier needs at least two class folders."
    hint = " If the folders inside it are the classes, move them one level up."
    assert fault(root) == message + hint
    paint(root / split / "flowers", 1)
    assert fault(root) == message


# The split of a single folder


def test_one_folder_of_classes_is_split_by_the_seed(root):
    for label in ("ant", "bee"):
        paint(root / label, 100)
    data, again, other = (find_images(root, seed=seed) for seed in (1, 1, 2))
    assert data.split_folders == ()
    assert [data.splits[name].files for name in SPLITS] == [again.splits[name].files for name in SPLITS]
    assert data.splits["test"].files != other.splits["test"].files
    files = [file for split in data.splits.values() for file in split.files]
    assert len(set(files)) == len(files) == 200
    check_trainable(data)


def test_a_thousand_files_are_split_about_70_to_15_to_15(root):
    for label in ("ant", "bee"):
        paint(root / label, 500)
    shares = {name: count / 1000 for name, count in sizes(find_images(root)).items()}
    # Four standard deviations.
    assert shares["train"] == pytest.approx(0.7, abs=4 * 0.0145)
    assert shares["val"] == pytest.approx(0.15, abs=4 * 0.0113)
    assert shares["test"] == pytest.approx(0.15, abs=4 * 0.0113)


def test_each_seed_splits_in_the_fractions_that_are_asked_for():
    digests = np.random.default_rng(0).integers(0, 2**64, 1000, np.uint64)
    images = Split((pathlib.Path("x"),) * 1000, np.zeros(1000, np.int64), digests)
    for seed in range(20):
        splits = divide(images, {"test": 0.1, "val": 0.3}, seed)
        shares = {name: len(split) / 1000 for name, split in splits.items()}
        assert sum(shares.values()) == 1
        # Four standard deviations.
        assert shares["test"] == pytest.approx(0.1, abs=4 * 0.0095)
        assert shares["val"] == pytest.approx(0.3, abs=4 * 0.0145)


@pytest.mark.parametrize("parent", ["", "train"])
def test_an_image_keeps_its_split_when_others_are_added(root, parent):
    for label in ("ant", "bee"):
        paint(root / parent / label, 100)
    before = split_of_each_image(find_images(root))
    assert len(before) == 200
    for label in ("ant", "bee"):
        paint(root / parent / label, 50, first=100)
    after = split_of_each_image(find_images(root))
    assert len(after) == 300
    assert {digest: after[digest] for digest in before} == before


def test_an_image_keeps_its_split_when_it_is_renamed_or_moved(root):
    for label in ("ant", "bee"):
        paint(root / label, 60)
    before = split_of_each_image(find_images(root))
    for file in sorted((root / "ant").iterdir()):
        file.rename(file.with_stem(f"holiday {file.stem}"))
    (root / "bee").rename(root / "wasp")
    (root / "wasp" / "2024").mkdir()
    for file in sorted((root / "wasp").glob("*.png"))[:30]:
        file.rename(root / "wasp" / "2024" / file.name)
    moved = root.rename(root.with_name("elsewhere"))
    assert split_of_each_image(find_images(moved)) == before


def test_train_without_val_gives_some_of_its_images_to_it(root):
    paint_splits(root, ("train", "test"), counts=(100, 3))
    data = find_images(root)
    assert data.split_folders == ("train", "test")
    assert sizes(data)["train"] + sizes(data)["val"] == 200
    assert 15 <= sizes(data)["val"] <= 45
    assert sizes(data)["test"] == 6
    check_trainable(data)


def test_too_few_images_to_split_off_a_validation_set_are_named(root):
    for label in ("ant", "bee"):
        paint(root / label, 1)
    assert "has only 2 images, too few to split off a validation set" in fault(root)


def test_the_fingerprint_is_that_of_the_files(folders):
    before = find_images(folders).fingerprint()
    assert find_images(folders).fingerprint() == before
    (folders / "train" / "ant" / "000.png").unlink()
    assert find_images(folders).fingerprint() != before


def test_a_file_that_is_gone_when_the_fingerprint_is_made_is_named(folders):
    data = find_images(folders)
    (folders / "train" / "ant" / "000.png").unlink()
    with pytest.raises(DataError, match="000.png can no longer be read .* put it back, or start again"):
        data.fingerprint()


# What is left out


def test_hidden_and_system_files_are_left_out_at_any_depth(folders):
    names = (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".thumbnails", "$RECYCLE.BIN")
    places = [folders, folders / "train", folders / "train" / "ant", folders / "train" / "ant" / "2024"]
    paint(places[-1], 1)
    for place, name in itertools.product(places, names):
        paint(place / name, 2)
    for place, name in itertools.product(places, (".DS_Store", "Thumbs.db", "desktop.ini")):
        (place / name).write_bytes(b"x")
    for place in places:
        shutil.copy(folders / "test" / "ant" / "000.png", place / "._x.png")
    data = find_images(folders)
    assert sizes(data) == {"train": 13, "val": 4, "test": 6}
    assert data.label_names == ("ant", "bee")
    assert list(data.skipped) == [HIDDEN]
    assert len(data.skipped[HIDDEN]) == len(places) * (len(names) + 3 + 1)


def test_hidden_files_in_a_folder_of_classes_are_left_out(root):
    for label in ("ant", "bee"):
        paint(root / label, 20)
    paint(root / "@eaDir", 3)
    paint(root / "bee" / ".ipynb_checkpoints", 3)
    data = find_images(root)
    assert sum(sizes(data).values()) == 40
    assert left_out(data) == {HIDDEN: ["@eaDir", "bee/.ipynb_checkpoints"]}


def test_files_outside_of_the_class_folders_are_left_out(folders):
    shutil.copy(folders / "test" / "ant" / "000.png", folders / "loose.png")
    shutil.copy(folders / "test" / "ant" / "000.png", folders / "train" / "loose.png")
    (folders / "labels.csv").write_text("x")
    data = find_images(folders)
    assert sizes(data) == {"train": 12, "val": 4, "test": 6}
    assert left_out(data) == {LOOSE: ["labels.csv", "loose.png", "train/loose.png"]}


@needs_posix
def test_links_are_followed_but_not_in_circles(folders, tmp_path):
    album = paint(tmp_path / "album", 5)
    ant = folders / "train" / "ant"
    (ant / "album").symlink_to(album)
    (ant / "one.png").symlink_to(paint(tmp_path / "one", 1) / "000.png")
    (ant / "the same album").symlink_to(album)
    (ant / "parent").symlink_to("..")
    (ant / "root").symlink_to(folders)
    (ant / "system").symlink_to("/")
    (album / "itself").symlink_to(album)
    (folders / "train" / "bee" / "self").symlink_to("self")
    (folders / "train" / "bee" / "broken.png").symlink_to("nowhere.png")
    data = find_images(folders)
    assert sizes(data) == {"train": 12 + 5 + 1, "val": 4, "test": 6}
    names = [f"train/ant/{name}" for name in ("album/itself", "parent", "root", "system", "the same album")]
    assert left_out(data) == {
        REPEATED_FOLDER: names,
        BROKEN_LINK: ["train/bee/broken.png", "train/bee/self"],
    }


@needs_posix
def test_a_class_folder_may_be_a_link(folders, tmp_path):
    paint(tmp_path / "album" / "dogs", 3)
    cats = paint(tmp_path / "album" / "cats", 4)
    (cats / "up").symlink_to("..")
    (folders / "train" / "cat").symlink_to(cats)
    data = find_images(folders)
    assert list(data.counts("train")) == [6, 6, 4]
    assert left_out(data) == {REPEATED_FOLDER: ["train/cat/up"]}


@needs_posix
def test_pipes_and_sockets_are_not_opened(folders):
    os.mkfifo(folders / "train" / "ant" / "pipe.png")
    os.mkfifo(folders / "pipe")
    (folders / "train" / "ant" / "zero.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(folders / "train" / "ant"):
        listener.bind("socket")
    data = find_images(folders)
    assert sizes(data) == {"train": 12, "val": 4, "test": 6}
    names = ["pipe", *(f"train/ant/{name}" for name in ("pipe.png", "socket", "zero.png"))]
    assert left_out(data) == {NOT_A_FILE: names}


@pytest.mark.parametrize("file", ["model.safetensors", "recipe.json", "evaluation.json"])
@pytest.mark.parametrize("split", [False, True])
def test_a_model_or_its_results_among_the_folders_are_not_a_class(root, file, split):
    paint_splits(root) if split else paint_splits(root, ("",), counts=(30,))
    paint(root / "my-model" / "figures", 3)
    (root / "my-model" / file).write_bytes(b"x")
    data = find_images(root)
    assert data.label_names == ("ant", "bee")
    assert left_out(data) == {REPOSITORY: ["my-model"]}


def test_what_was_left_out_is_said_when_nothing_is_left(root):
    paint(root, 4)
    message = fault(root)
    assert "has no class folders: make one folder per class" in message
    assert "Left out: 4 x file outside of the class folders (000.png, 001.png, 002.png and 1 more)" in message


# Names


def test_two_unicode_forms_of_a_name_are_one_class(root):
    for split, name in (("train", COMPOSED), ("val", DECOMPOSED), ("test", COMPOSED)):
        paint(root / split / name, 3)
        paint(root / split / "bee", 3)
    data = find_images(root)
    assert data.label_names == ("bee", COMPOSED)
    assert all(list(data.counts(split)) == [3, 3] for split in SPLITS)
    check_trainable(data)


def test_two_unicode_forms_in_one_folder_are_one_class(root):
    for name in (COMPOSED, DECOMPOSED, "bee"):
        paint(root / name, 20)
    if len([*root.iterdir()]) < 3:
        pytest.skip("this file system does not distinguish the forms")
    data = find_images(root)
    assert data.label_names == ("bee", COMPOSED)
    assert sum(data.counts(split)[1] for split in data.splits) == 40


@needs_posix
def test_files_whose_names_are_not_utf_8_are_found_and_read(folders):
    strange = pathlib.Path(os.fsdecode(os.fsencode(folders / "test" / "ant") + b"/caf\xe9.png"))
    (folders / "test" / "ant" / "000.png").rename(strange)
    data = find_images(folders)
    split = data.splits["test"]
    assert strange in split.files
    assert len(data.fingerprint()) == 64
    batches = validation_batches(split, 2, PLAIN, PREPROCESSING)
    images = np.concatenate([pixels.numpy() for pixels, _, _ in batches.dataset])
    assert np.array_equal(
        images[split.files.index(strange)], preprocess(open_image(strange, 32), PREPROCESSING)
    )


@needs_posix
def test_a_class_whose_name_is_not_utf_8_is_named(folders):
    os.rename(folders / "train" / "ant", os.fsencode(folders / "train") + b"/caf\xe9")
    assert r"The name of class folder 'caf\udce9' in" in fault(folders)


@needs_posix
def test_messages_show_names_with_control_characters_on_one_line(folders):
    odd = paint(folders / "train" / "a\nb\x1b[31m", 3)
    (odd / "c\rd.png").write_bytes(b"x")
    lines = fault(folders).split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    shutil.rmtree(odd)
    paint(folders / "valid" / "e\nf\x1b[2J", 3)
    assert fault(folders).isprintable()


# Files that are not images


def test_all_bad_files_are_named_a_line_each(folders):
    bad = [folders / "train" / "ant" / f"page {index:03}.jpg" for index in range(400)]
    for path in bad:
        path.write_text("<html>")
    lines = fault(folders).split("\n")
    assert lines[0].startswith(
        "400 files cannot be read as images (remove them, or skip them with --skip-bad"
    )
    assert [line.strip() for line in lines[1:]] == [
        f"{path} cannot be read as an image: it is a web page." for path in bad
    ]


def test_skipped_bad_files_are_counted(folders):
    bad = [folders / "train" / "ant" / "zz.jpg", folders / "test" / "bee" / "notes.txt"]
    bad[0].write_bytes(b"\xff\xd8 broken")
    bad[1].touch()
    assert all(str(path) in fault(folders) for path in bad)
    data = find_images(folders, skip_bad_files=True)
    assert sizes(data) == {"train": 12, "val": 4, "test": 6}
    assert left_out(data) == {data_module.UNREADABLE: ["train/ant/zz.jpg", "test/bee/notes.txt"]}


def test_heic_is_trained_on_and_formats_that_are_not_read_are_counted(folders):
    (folders / "train" / "ant" / "IMG_0001.HEIC").write_bytes(heic(colors()))
    (folders / "train" / "bee" / "photo.nef").write_bytes(tiff(colors(), 2))
    assert "photo.nef is a camera's raw file, which is not supported: convert it to JPEG" in fault(folders)
    data = find_images(folders, skip_bad_files=True)
    assert sizes(data) == {"train": 13, "val": 4, "test": 6}
    assert left_out(data) == {data_module.UNSUPPORTED: ["train/bee/photo.nef"]}


def test_a_large_truncated_jpeg_is_a_bad_file(folders):
    path = folders / "train" / "ant" / "large.jpg"
    Image.effect_noise((1200, 900), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-5000])
    message = fault(folders)
    assert "1 file cannot be read as an image (remove it, or skip it" in message
    assert "large.jpg cannot be read as an image: image file is truncated" in message


def test_files_removed_while_they_are_checked_are_named(folders, monkeypatch):
    last = folders / "train" / "bee" / "005.png"

    def remove_and_open(file, side):
        last.unlink(missing_ok=True)
        return open_image(file, side)

    monkeypatch.setattr(data_module, "open_image", remove_and_open)
    assert f"{last} does not exist" in fault(folders)


def test_a_file_removed_between_its_two_readings_is_named(folders, monkeypatch):
    last = folders / "train" / "bee" / "005.png"

    def open_and_remove(file, side):
        image = open_image(file, side)
        if file == last:
            last.unlink()
        return image

    monkeypatch.setattr(data_module, "open_image", open_and_remove)
    assert f"{last} cannot be read as an image: no such file or directory." in fault(folders)


@pytest.fixture
def shared(tmp_path):
    """Splits in a folder that other users may read, too."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = paint_splits(pathlib.Path(folder) / "data")
        check_trainable(find_images(root))  # loads all modules that another user may not read
        yield root
        for path in (root, *root.rglob("*")):
            os.chmod(path, 0o755)


@needs_posix
@pytest.mark.parametrize("name", [".", "train", "train/ant", "train/ant/deeper"])
def test_a_folder_that_cannot_be_listed_is_named(shared, name):
    paint(shared / "train" / "ant" / "deeper", 2)
    os.chmod(shared / name, 0)
    with other_user():
        message = fault(shared)
    assert message == (
        f"{shared / name} cannot be listed (permission denied): make it readable or move it elsewhere, and "
        "start again."
    )


@needs_posix
@pytest.mark.parametrize(("name", "mode", "count"), [("train/ant/000.png", 0, 1), ("train/ant", 0o444, 6)])
def test_files_that_may_not_be_read_are_bad_files(shared, name, mode, count):
    os.chmod(shared / name, mode)
    with other_user():
        message = fault(shared)
    assert message.count("cannot be read as an image: permission denied.") == count


@needs_posix
def test_a_data_set_below_a_closed_folder_is_refused(shared):
    os.chmod(shared, 0)
    with other_user():
        assert "is not a folder that can be read" in fault(shared / "train")


@needs_posix
def test_a_data_set_is_read_from_within_a_closed_folder(shared, monkeypatch):
    monkeypatch.chdir(shared)
    os.chmod(shared.parent, 0)
    with other_user():
        assert sizes(find_images(pathlib.Path("."))) == {"train": 12, "val": 4, "test": 6}
    os.chmod(shared.parent, 0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, a path may not be so long")
def test_folders_nested_deeper_than_python_recurses_are_read(folders):
    with contextlib.chdir(folders / "train" / "ant"):
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        shutil.copy(folders / "train" / "bee" / "000.png", "deep.png")
    assert sizes(find_images(folders))["train"] == 13
    subprocess.run(["rm", "-rf", folders / "train" / "ant" / "d"], check=True)  # Python's own recurses


# Classes


def test_folders_that_cannot_be_used_are_named(root):
    assert f"{root} is not a folder that can be read: give one that holds train/, val/" in fault(root)
    root.mkdir()
    (root / "file").write_text("x")
    assert "is not a folder" in fault(root / "file")
    assert "has no class folders" in fault(root)
    for label in ("ant", "bee"):
        (root / label).mkdir()
    assert f"{root} has no images: put images into its class folders." in fault(root)
    paint(root / "ant", 30)
    (root / "bee").rmdir()
    assert "has only one class, 'ant': a classifier needs at least two class folders." in fault(root)


def test_splits_without_training_images_or_without_images_are_named(folders):
    shutil.rmtree(folders / "train")
    assert "has no train folder: make one" in fault(folders)
    (folders / "train").mkdir()
    assert f"{folders / 'train'} has no class folders" in fault(folders)
    for label in ("ant", "bee"):
        (folders / "train" / label).mkdir()
    assert (
        f"{folders / 'train'} has no images: put images into its class folders, or remove the folder."
        in fault(folders)
    )


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_class_may_be_missing_in_val_and_test(folders, split, empty):
    shutil.rmtree(folders / split / "bee")
    if empty:
        (folders / split / "bee").mkdir()
    data = find_images(folders)
    check_trainable(data)
    assert list(data.counts("val" if split == "valid" else split))[1] == 0


def test_an_empty_class_folder_in_train_is_named(folders):
    (folders / "train" / "cat").mkdir()
    assert fault(folders) == f"Class 'cat' has no images in {folders}: add some, or remove its folder."


def test_a_class_that_is_only_in_val_is_named_once(folders):
    paint(folders / "valid" / "cat", 1)
    assert fault(folders) == (
        f"Class 'cat' has images in val, but none in train ({folders}): add some, or remove its folders."
    )


def test_all_classes_without_training_images_are_named(folders):
    for name in ("cat", "dog"):
        paint(folders / "test" / name, 1)
    lines = fault(folders).split("\n")
    assert lines[0] == "2 classes have no images to train on:"
    assert [line.split()[1] for line in lines[1:]] == ["'cat'", "'dog'"]


@pytest.mark.parametrize("name", ["Ant", "ANT", "ant "])
def test_a_class_whose_name_differs_only_by_case_or_space_is_hinted_at(folders, name):
    (folders / "valid" / "ant").rename(folders / "valid" / name)
    assert fault(folders) == f"{folders} has the classes 'ant' and {name!r}: give them the same name."


def test_a_class_too_small_for_the_split_is_named(root):
    paint(root / "bee", 60)
    # Whether an image of a class is for training depends on its content: here, none is.
    paint(root / "ant", 60)
    for file in find_images(root).splits["train"].files:
        if file.parent.name == "ant":
            file.unlink()
    message = fault(root)
    assert "Class 'ant' in" in message
    assert "none of them for training after the split: add more images, or make the folders" in message


def test_a_class_of_copies_is_named_with_its_different_images(root):
    paint(root / "ant", 60)
    paint(root / "bee", 60)
    copied = next(file for file in find_images(root).splits["val"].files if file.parent.name == "ant")
    content = copied.read_bytes()
    for file in (root / "ant").iterdir():
        file.write_bytes(content)
    message = fault(root)
    assert "Class 'ant' in" in message
    assert "has only 1 different image, and none of them for training after the split" in message


def test_unreadable_files_are_said_with_the_class_that_they_empty(folders):
    for file in (folders / "train" / "ant").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(DataError, match="Class 'ant' has images in val, but none in train") as error:
        check_trainable(find_images(folders, skip_bad_files=True))
    assert "Left out: 6 x file that cannot be read as an image (train/ant/000.png" in str(error.value)
