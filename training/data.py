"""Folders of photographs as data sets: found, checked, split, and fed to the network through tf.data."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
import pathlib

import numpy as np

from resnext.config import Preprocessing
from resnext.errors import DataError, ImageError
from resnext.preprocessing import center_crop, open_image, preprocess, resize

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
VAL_SHARE, TEST_SHARE = 0.15, 0.15  # of each class, when one folder of classes is split
MAX_SHUFFLED = 10_000  # decoded images in the shuffle's buffer
_IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclasses.dataclass(frozen=True)
class Split:
    """Image files and their classes.

    Args:
        files: paths.
        labels: (files,) int64, indices into the data set's class names.
    """

    files: tuple[pathlib.Path, ...]
    labels: np.ndarray

    def __len__(self):
        return len(self.files)


@dataclasses.dataclass(frozen=True)
class ImageFolders:
    """A data set: class names in alphabetical order, and up to three splits ("train", "val", "test")."""

    root: pathlib.Path
    label_names: tuple[str, ...]
    splits: dict[str, Split]

    def fingerprint(self) -> str:
        """SHA-256 over every split's file names, sizes and classes: the same data set has the same one."""
        digest = hashlib.sha256()
        for name, split in sorted(self.splits.items()):
            for file, label in zip(split.files, split.labels):
                relative = file.relative_to(self.root).as_posix()
                digest.update(os.fsencode(f"{name}\0{relative}\0{file.stat().st_size}\0{label}\n"))
        return digest.hexdigest()


def find_images(root: pathlib.Path, *, seed: int = 0, skip_bad_files: bool = False) -> ImageFolders:
    """Finds and checks the images below a folder.

    Args:
        root: holds `train`, `val` (or `valid`, `validation`) and `test` with a folder for each class; or the
            class folders themselves, which are then split by `seed`: 70, 15 and 15% of every class.
        seed: of that split. Also splits off a validation set where only `train` exists.
        skip_bad_files: leave out files that cannot be decoded, instead of refusing the folder.

    Returns:
        The data set.

    Raises:
        DataError: nothing there, one class only, an empty class, classes that differ between splits, or files that
            are no images (all of them are named).
    """
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder: give the folder that holds train/, val/ and test/, or one folder a class."
        )
    folders = {
        split: [root / name for name in names if (root / name).is_dir()] for split, names in SPLITS.items()
    }
    for split, found in folders.items():
        if len(found) > 1:
            raise DataError(
                f"{root} has both {found[0].name}/ and {found[1].name}/: keep one {split} folder."
            )
    if not any(folders.values()):
        splits = {"train": _class_folders(root)}
    else:
        splits = {split: _class_folders(found[0]) for split, found in folders.items() if found}
    first = next(iter(splits))
    label_names = tuple(splits[first])
    if len(label_names) < 2:
        raise DataError(
            f"{root} has the one class {label_names[0]!r}: a classifier needs two class folders or more."
        )
    foreign = [name for name in label_names if os.fsencode(name) != name.encode(errors="replace")]
    if foreign:
        raise DataError(f"The name of class folder {foreign[0]!a} in {root} is not UTF-8: rename it.")
    for split, classes in splits.items():
        different = sorted(set(classes) ^ set(label_names))
        if different:
            raise DataError(
                f"{folders[split][0]} and {folders[first][0]} differ in class {different[0]!r}: give both the same class folders."
            )
    bad = _bad_files([file for classes in splits.values() for files in classes.values() for file in files])
    if bad and not skip_bad_files:
        listing = "\n".join(f"  {error}" for error in bad.values())
        raise DataError(
            f"{len(bad)} files are no readable images (remove them, or go on without them by --skip-bad-files):\n{listing}"
        )
    splits = {
        split: {name: [file for file in files if file not in bad] for name, files in classes.items()}
        for split, classes in splits.items()
    }
    for split, classes in splits.items():
        empty = [name for name, files in classes.items() if not files]
        if empty:
            raise DataError(
                f"Class {empty[0]!r} has no images in {split} ({root}): add some or remove its folder."
            )
    if not any(folders.values()):
        splits = _divide(splits["train"], {"val": VAL_SHARE, "test": TEST_SHARE}, seed, root)
    elif "train" in splits and "val" not in splits:
        splits |= _divide(splits["train"], {"val": VAL_SHARE}, seed, root)
    return ImageFolders(root, label_names, {split: _as_split(classes) for split, classes in splits.items()})


def load_square(file: os.PathLike | str, side: int, interpolation: str) -> np.ndarray:
    """An image resized to that shorter side and centre-cropped to a square: (side, side, 3) uint8 RGB."""
    image = resize(open_image(file, side), side, interpolation)
    return np.asarray(center_crop(image, side))


def make_dataset(split: Split, num_classes: int, recipe, preprocessing: Preprocessing, *, training: bool):
    """A tf.data pipeline of batches.

    Args:
        split: the images.
        num_classes: for one-hot labels.
        recipe: `training.recipe.Recipe`: sizes, batch size, labels, augmentation, seed.
        preprocessing: of the network that is trained.
        training: shuffled, augmented crops of train_size; otherwise in order, the very pixels that are served.

    Returns:
        Batches of (batch, size, size, 3) float32 RGB pixels from 0 to 255, and labels: (batch,) int64,
        (batch, num_classes) float32 ("categorical") or (batch, 1) float32 ("binary").
    """
    import tensorflow as tf

    if training:
        side = preprocessing.resize_to
        load = functools.partial(load_square, side=side, interpolation=preprocessing.interpolation)
    else:
        side = preprocessing.image_size
        load = functools.partial(_load_as_served, preprocessing=preprocessing)

    def decode(file, label):
        image = tf.numpy_function(lambda path: load(os.fsdecode(path)), [file], tf.uint8)
        return tf.ensure_shape(image, (side, side, 3)), label

    def prepare(images, labels):
        if recipe.labels == "categorical":
            labels = tf.one_hot(labels, num_classes)
        elif recipe.labels == "binary":
            labels = tf.cast(labels[:, None], tf.float32)
        return tf.cast(images, tf.float32), labels

    dataset = tf.data.Dataset.from_tensor_slices(([os.fsencode(file) for file in split.files], split.labels))
    if (
        training
    ):  # by name, so all of them: they come class by class, and batches of few classes mislead batch norm
        dataset = dataset.shuffle(len(split), seed=recipe.seed)
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    if len(split) * side * side * 3 < _free_memory() / 4:
        dataset = dataset.cache()
        if training:  # the cache keeps its first order
            dataset = dataset.shuffle(min(len(split), MAX_SHUFFLED), seed=recipe.seed)
    dataset = dataset.batch(recipe.batch_size, drop_remainder=training and len(split) >= recipe.batch_size)
    dataset = dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
    if training:
        dataset = dataset.map(_augmentation(recipe, side), num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _load_as_served(file: str, preprocessing: Preprocessing) -> np.ndarray:
    return preprocess(open_image(file, preprocessing.resize_to), preprocessing)


def _augmentation(recipe, side):
    """Keras' preprocessing layers in the order: mirror, turn, zoom, crop, colour, blend."""
    import keras
    import tensorflow as tf

    layers = keras.layers
    # float32 under every precision policy: pixels are not rounded before the network sees them.
    options = {"seed": recipe.seed, "dtype": "float32"}
    steps = []
    if recipe.flip:
        steps.append(layers.RandomFlip("horizontal", **options))
    if recipe.rotation:
        steps.append(layers.RandomRotation(recipe.rotation, **options))
    if recipe.zoom:
        steps.append(layers.RandomZoom((-recipe.zoom, 0.0), (-recipe.zoom, 0.0), **options))
    if recipe.train_size < side:
        steps.append(layers.RandomCrop(recipe.train_size, recipe.train_size, **options))
    if recipe.jitter:
        # Keras' saturation clips at the value range (so: pixels in [0, 1]) and leaves 0.5 unchanged.
        saturation = (0.5 - recipe.jitter / 2, 0.5 + recipe.jitter / 2)
        jitter = layers.RandomColorJitter((0, 1), recipe.jitter / 2, recipe.jitter, saturation, **options)
        steps.append(lambda images, training: 255 * jitter(images / 255, training=training))
    blends = []
    if recipe.mixup:
        blends.append(layers.MixUp(recipe.mixup, **options))
    if recipe.cutmix:
        blends.append(layers.CutMix(recipe.cutmix, **options))
    if blends:
        blends.append(lambda data, training: data)

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


def _class_folders(folder) -> dict[str, list[pathlib.Path]]:
    classes = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            files = [file for file in sorted(entry.rglob("*")) if file.is_file()]
            classes[entry.name] = [
                file for file in files if not file.name.startswith(".") and file.name not in _IGNORED
            ]
    if not classes:
        raise DataError(
            f"{folder} has no class folders: make one folder for each class, with its images inside."
        )
    return classes


def _bad_files(files) -> dict[pathlib.Path, str]:
    def fault(file):
        try:
            open_image(file, 1)
        except ImageError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return {file: error for file, error in zip(files, pool.map(fault, files)) if error}


def _divide(classes, shares, seed, root):
    """Takes each share of every class for a split of its own (stratified); the rest is "train"."""
    splits = {"train": {}} | {split: {} for split in shares}
    for index, (name, files) in enumerate(classes.items()):
        order = np.random.default_rng((seed, index)).permutation(len(files))
        files, start = [files[i] for i in order], 0
        for split, share in shares.items():
            count = max(1, round(share * len(files)))
            splits[split][name] = sorted(files[start : start + count])
            start += count
        splits["train"][name] = sorted(files[start:])
        if not splits["train"][name]:
            raise DataError(
                f"Class {name!r} in {root} has only {len(files)} images: too few to split; add some."
            )
    return splits


def _as_split(classes) -> Split:
    files = [(file, label) for label, files in enumerate(classes.values()) for file in files]
    return Split(tuple(file for file, _ in files), np.array([label for _, label in files], np.int64))


def _free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
