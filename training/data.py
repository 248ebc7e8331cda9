"""Folders of images as data sets: the files are found, checked and split."""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from resnext.errors import DataError, ImageError
from resnext.preprocessing import open_image

SPLITS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
VAL_FRACTION, TEST_FRACTION = 0.15, 0.15  # of each class, if one folder of classes is split
_IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}

# The image files of each class, by the name of the class in alphabetical order.
ClassFiles = dict[str, list[pathlib.Path]]


@dataclasses.dataclass(frozen=True)
class Split:
    """Image files and their classes.

    Args:
        files: The paths.
        labels: (files,) int64, indices into the data set's class names.
    """

    files: tuple[pathlib.Path, ...]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.files)


@dataclasses.dataclass(frozen=True)
class ImageFolders:
    """A data set of image files.

    Args:
        root: The folder that holds all files.
        label_names: The names of the classes, in alphabetical order.
        splits: Up to three splits: "train", "val" and "test".
    """

    root: pathlib.Path
    label_names: tuple[str, ...]
    splits: dict[str, Split]

    def fingerprint(self) -> str:
        """SHA-256 of the names, sizes and classes of all files, which identifies the data set."""
        digest = hashlib.sha256()
        for name, split in sorted(self.splits.items()):
            for file, label in zip(split.files, split.labels):
                relative = file.relative_to(self.root).as_posix()
                digest.update(os.fsencode(f"{name}\0{relative}\0{file.stat().st_size}\0{label}\n"))
        return digest.hexdigest()


def find_images(root: pathlib.Path, *, seed: int = 0, skip_bad_files: bool = False) -> ImageFolders:
    """Finds, checks and splits the images in a folder.

    Args:
        root: The folder. It holds `train`, `val` (or `valid`, `validation`) and `test` with one folder per
            class, or the class folders themselves, which are split into 70% training, 15% validation and 15%
            test images.
        seed: The seed of that split, and of the validation set that is split off `train` if there is no
            `val`.
        skip_bad_files: Whether to skip files that cannot be read as images, instead of raising an error.

    Returns:
        The data set.

    Raises:
        DataError: The folder is missing, has less than two classes, an empty class, classes that differ
            between splits, or files that cannot be read as images; the message names all of these files.
    """
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder: give one that holds train/, val/ and test/, or one folder per class."
        )
    folders = find_split_folders(root)
    has_splits = bool(folders)
    if not has_splits:
        folders = {"train": root}
    splits = {split: find_class_files(folder) for split, folder in folders.items()}
    check_classes(root, folders, splits)
    splits = remove_bad_files(splits, skip=skip_bad_files)
    check_not_empty(root, splits)
    if not has_splits:
        splits = divide(root, splits["train"], {"val": VAL_FRACTION, "test": TEST_FRACTION}, seed)
    elif "train" in splits and "val" not in splits:
        splits |= divide(root, splits["train"], {"val": VAL_FRACTION}, seed)
    label_names = tuple(next(iter(splits.values())))
    return ImageFolders(root, label_names, {split: _as_split(classes) for split, classes in splits.items()})


def find_split_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Finds the folders of the splits; none if `root` holds the class folders itself.

    Args:
        root: The folder of the data set.

    Returns:
        The folders by the names of the splits, in the order of `SPLITS`.

    Raises:
        DataError: A split has several folders, such as `val` and `valid`.
    """
    folders = {}
    for split, names in SPLITS.items():
        found = [root / name for name in names if (root / name).is_dir()]
        if len(found) > 1:
            raise DataError(
                f"{root} has both {found[0].name}/ and {found[1].name}/: keep one {split} folder."
            )
        if found:
            folders[split] = found[0]
    return folders


def find_class_files(folder: pathlib.Path) -> ClassFiles:
    """Finds the files of each class: all files in a class folder and below, but hidden and system files.

    Args:
        folder: A folder with one folder per class.

    Raises:
        DataError: There are no class folders.
    """
    classes = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            classes[entry.name] = [file for file in sorted(entry.rglob("*")) if _may_be_image(file)]
    if not classes:
        raise DataError(f"{folder} has no class folders: make one folder per class, with its images inside.")
    return classes


def check_classes(
    root: pathlib.Path, folders: Mapping[str, pathlib.Path], splits: Mapping[str, ClassFiles]
) -> None:
    """Checks the class folders of a data set.

    Args:
        root: The folder of the data set.
        folders: The folder of each split.
        splits: The class files of each split.

    Raises:
        DataError: There is only one class, a name is not UTF-8, or the classes differ between splits.
    """
    first = next(iter(splits))
    names = list(splits[first])
    if len(names) < 2:
        raise DataError(
            f"{root} has only one class, {names[0]!r}: a classifier needs at least two class folders."
        )
    for name in names:
        if os.fsencode(name) != name.encode(errors="replace"):
            raise DataError(f"The name of class folder {name!a} in {root} is not UTF-8: rename it.")
    for split, classes in splits.items():
        different = sorted(set(classes) ^ set(names))
        if different:
            raise DataError(
                f"{folders[split]} and {folders[first]} differ in class {different[0]!r}: "
                f"give both the same class folders."
            )


def remove_bad_files(splits: Mapping[str, ClassFiles], *, skip: bool) -> dict[str, ClassFiles]:
    """Decodes all files, and removes those that cannot be read as images.

    Args:
        splits: The class files of each split.
        skip: Whether bad files are removed; otherwise they are an error.

    Returns:
        The class files of each split, without bad files.

    Raises:
        DataError: There are bad files; the message names all of them. Only if `skip` is false.
    """
    bad = _find_bad_files(
        [file for classes in splits.values() for files in classes.values() for file in files]
    )
    if bad and not skip:
        listing = "\n".join(f"  {error}" for error in bad.values())
        raise DataError(
            f"{len(bad)} file{'s' * (len(bad) > 1)} cannot be read as images "
            f"(remove them, or skip them with --skip-bad-files):\n{listing}"
        )
    return {
        split: {name: [file for file in files if file not in bad] for name, files in classes.items()}
        for split, classes in splits.items()
    }


def check_not_empty(root: pathlib.Path, splits: Mapping[str, ClassFiles]) -> None:
    """Checks that every class has images in every split.

    Args:
        root: The folder of the data set.
        splits: The class files of each split.

    Raises:
        DataError: A class has no images.
    """
    for split, classes in splits.items():
        for name, files in classes.items():
            if not files:
                raise DataError(
                    f"Class {name!r} has no images in {split} ({root}): add some, or remove its folder."
                )


def divide(
    root: pathlib.Path, classes: ClassFiles, fractions: Mapping[str, float], seed: int
) -> dict[str, ClassFiles]:
    """Splits a data set at random, each class by itself (a stratified split).

    Args:
        root: The folder of the data set.
        classes: The class files.
        fractions: The fraction of each class, in [0, 1], that each new split gets; at least one image.
        seed: The seed of the random split.

    Returns:
        The class files of "train", which gets the rest, and of each new split.

    Raises:
        DataError: A class has too few images.
    """
    splits = {"train": {}} | {split: {} for split in fractions}
    for index, (name, files) in enumerate(classes.items()):
        order = np.random.default_rng((seed, index)).permutation(len(files))
        shuffled = [files[i] for i in order]
        start = 0
        for split, fraction in fractions.items():
            count = max(1, round(fraction * len(files)))
            splits[split][name] = sorted(shuffled[start : start + count])
            start += count
        splits["train"][name] = sorted(shuffled[start:])
        if not splits["train"][name]:
            raise DataError(
                f"Class {name!r} in {root} has only {len(files)} images, too few to split: add more images."
            )
    return splits


def _may_be_image(file: pathlib.Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name not in _IGNORED


def _find_bad_files(files: Iterable[pathlib.Path]) -> dict[pathlib.Path, str]:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return {file: fault for file, fault in zip(files, pool.map(_find_fault, files)) if fault}


def _find_fault(file: pathlib.Path) -> str | None:
    """The reason why a file cannot be read as an image; None if it can."""
    try:
        open_image(file, 1)
    except ImageError as error:
        return str(error)
    return None


def _as_split(classes: ClassFiles) -> Split:
    files = [(file, label) for label, files in enumerate(classes.values()) for file in files]
    return Split(tuple(file for file, _ in files), np.array([label for _, label in files], np.int64))
