"""Folders of images as data sets: the files are checked and split, and what is left out is counted."""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from resnext.errors import DataError, ImageError, UnsupportedImageError
from resnext.preprocessing import open_image

from .folders import SPLITS, ClassFiles, Skipped, describe_skipped, find_class_files, find_split_folders

UNREADABLE = "file that cannot be read as an image"  # why a file is left out
UNSUPPORTED = "image in a format that is not supported"
VAL_FRACTION = 0.15  # of the images of a folder that has no splits, or no validation set
TEST_FRACTION = 0.15  # of the images of a folder that has no splits
_CHUNK = 1024  # files that are checked at a time, so that a large data set takes little memory
# In bytes. For smaller files Python takes longer than the decoder, and threads would wait for each other.
_LARGE_FILE = 2**16


@dataclasses.dataclass(frozen=True)
class Split:
    """Image files, their classes, and what identifies their content.

    Args:
        files: The paths.
        labels: (files,) int64, indices into the data set's class names.
        digests: (files,) uint64, the first eight bytes of the SHA-256 of each file.
    """

    files: tuple[pathlib.Path, ...]
    labels: np.ndarray
    digests: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def select(self, chosen: np.ndarray) -> "Split":
        """The images that a mask chooses.

        Args:
            chosen: (files,) bool.
        """
        files = tuple(itertools.compress(self.files, chosen))
        return Split(files, self.labels[chosen], self.digests[chosen])


@dataclasses.dataclass(frozen=True)
class ImageFolders:
    """A data set of image files.

    Args:
        root: The folder that holds all files.
        label_names: The names of the classes, in alphabetical order.
        splits: Up to three splits: "train", "val" and "test". None is empty.
        split_folders: The splits that are folders. The images of the others were split here by content.
        skipped: The files and folders that were left out, by the reason.
    """

    root: pathlib.Path
    label_names: tuple[str, ...]
    splits: dict[str, Split]
    split_folders: tuple[str, ...]
    skipped: Mapping[str, Sequence[pathlib.Path]] = dataclasses.field(default_factory=dict)

    def fingerprint(self) -> str:
        """SHA-256 of the names, sizes and classes of all files, which identifies the data set.

        Raises:
            DataError: A file was removed after it was found.
        """
        digest = hashlib.sha256()
        for name, split in sorted(self.splits.items()):
            for file, label in zip(split.files, split.labels):
                relative = file.relative_to(self.root).as_posix()
                digest.update(os.fsencode(f"{name}\0{relative}\0{_size(file)}\0{label}\n"))
        return digest.hexdigest()

    def digest(self) -> str:
        """SHA-256 of the names, classes and contents of all files.

        Raises:
            DataError: A file was removed after it was found.
        """
        digest = hashlib.sha256(self.fingerprint().encode())
        for _, split in sorted(self.splits.items()):
            digest.update(split.digests.tobytes())
        return digest.hexdigest()

    def counts(self, split: str) -> np.ndarray:
        """The number of images of each class in a split: (classes,) int64, zeros if the data set lacks it."""
        labels = self.splits[split].labels if split in self.splits else np.zeros(0, np.int64)
        return np.bincount(labels, minlength=len(self.label_names))

    def merged(self) -> Split:
        """All images of all splits."""
        splits = self.splits.values()
        return Split(
            tuple(file for split in splits for file in split.files),
            np.concatenate([split.labels for split in splits]),
            np.concatenate([split.digests for split in splits]),
        )


def find_images(root: str | os.PathLike, *, seed: int = 0, skip_bad_files: bool = False) -> ImageFolders:
    """Finds, checks and splits the images in a folder.

    Links are followed. Hidden and system files, broken links, files outside of class folders and model
    repositories are left out, and listed in `skipped`.

    Args:
        root: The folder. It holds a folder for each split (`SPLITS`, in any case) with one folder per class,
            or the class folders themselves. Those are split into 70% training, 15% validation and 15% test
            images, by the seed and the content of each file: an image stays where it is when others are
            added.
        seed: The seed of that split, and of the validation set that is split off the training set if there
            is no other.
        skip_bad_files: Whether to skip files that cannot be read as images, instead of raising an error.

    Returns:
        The data set. `check_trainable` says whether a network can be trained on it.

    Raises:
        DataError: The folder is missing or cannot be read, has no class folders or no images, a folder that
            fits nothing beside its splits, or files that cannot be read as images; the message names all of
            these files.
    """
    root = pathlib.Path(root)
    if not os.path.isdir(root):
        raise DataError(
            f"{root} is not a folder that can be read: give one that holds train/, val/ and test/, or one "
            "folder per class."
        )
    skipped: Skipped = {}
    folders = find_split_folders(root, skipped)
    classes = {
        split: find_class_files(folder, skipped) for split, folder in (folders or {"train": root}).items()
    }
    for split, names in classes.items():
        if not names:
            raise DataError(
                f"{folders.get(split, root)} has no class folders: make one folder per class, with its "
                "images inside.",
                describe_skipped(skipped, root),
            )
    label_names = tuple(sorted({name for files in classes.values() for name in files}))
    faults: dict[pathlib.Path, ImageError] = {}
    splits = {split: _check_files(files, label_names, faults) for split, files in classes.items()}
    if faults:
        if not skip_bad_files:
            raise _bad_files_error([str(error) for error in faults.values()])
        for path, error in faults.items():
            unsupported = isinstance(error, UnsupportedImageError)
            skipped.setdefault(UNSUPPORTED if unsupported else UNREADABLE, []).append(path)
    for split, files in splits.items():
        if not len(files):
            folder = folders.get(split, root)
            raise DataError(
                f"{folder} has no images: put images into its class folders"
                f"{', or remove the folder' if folders else ''}.",
                describe_skipped(skipped, root),
            )
    if not folders:
        splits |= divide(splits["train"], {"test": TEST_FRACTION, "val": VAL_FRACTION}, seed)
    elif "train" in splits and "val" not in splits:
        splits |= divide(splits["train"], {"val": VAL_FRACTION}, seed)
    splits = {name: splits[name] for name in SPLITS if len(splits.get(name, ()))}
    return ImageFolders(root, label_names, splits, tuple(folders), skipped)


def check_trainable(data: ImageFolders) -> None:
    """Checks that a network can be trained on a data set.

    Args:
        data: The data set.

    Raises:
        DataError: It has no training or validation images, only one class, classes without training images,
            or a class whose name is not UTF-8.
    """
    names = data.label_names
    left_out = describe_skipped(data.skipped, data.root)
    if data.split_folders and "train" not in data.splits:
        raise DataError(
            f"{data.root} has no train folder: make one with one folder of images per class.", left_out
        )
    if len(names) < 2:
        raise DataError(
            f"{data.root} has only one class, {names[0]!r}: a classifier needs at least two class folders"
            f"{_hint_at_deeper_folders(data)}.",
            left_out,
        )
    for name in names:
        if os.fsencode(name) != name.encode(errors="replace"):
            raise DataError(f"The name of class folder {name!a} in {data.root} is not UTF-8: rename it.")
    if "train" not in data.splits or "val" not in data.splits:
        count = sum(map(len, data.splits.values()))
        raise DataError(
            f"{data.root} has only {count} images, too few to split off a validation set: add more images, "
            "or make the folders train/ and val/.",
            left_out,
        )
    faults = [_missing_class_message(data, index) for index in np.flatnonzero(data.counts("train") == 0)]
    if len(faults) > 1:
        faults.insert(0, f"{len(faults)} classes have no images to train on:")
    if faults:
        raise DataError(faults[0], [*faults[1:], *left_out])


def loose_form(name: str) -> str:
    """The name of a class without what is easily mistaken: case, and spaces at its ends."""
    return name.strip().casefold()


def divide(split: Split, fractions: Mapping[str, float], seed: int) -> dict[str, Split]:
    """Splits a data set by the content of each file, so that an image never moves when others are added.

    Args:
        split: All images.
        fractions: The fraction of the images that each new split gets, in [0, 1], on average.
        seed: The seed of the split.

    Returns:
        The new splits, and "train", which gets the rest.
    """
    key = seed.to_bytes(8, "big")
    places = np.array(
        [
            int.from_bytes(hashlib.blake2b(digest.tobytes(), digest_size=8, key=key).digest(), "big") / 2**64
            for digest in split.digests
        ]
    )
    splits = {}
    start = 0.0
    for name, fraction in fractions.items():
        splits[name] = split.select((places >= start) & (places < start + fraction))
        start += fraction
    return splits | {"train": split.select(places >= start)}


def _check_files(
    classes: ClassFiles, label_names: Sequence[str], faults: dict[pathlib.Path, ImageError]
) -> Split:
    """Reads all files of a split. Those that are not images go to `faults` with an error each."""
    labels = {name: index for index, name in enumerate(label_names)}
    items = [(file, labels[name]) for name in sorted(classes) for file in classes[name]]
    kept = []
    digests = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            large = {file: pool.submit(_digest, file) for file, _ in chunk if _is_large(file)}
            for item in chunk:
                file = item[0]
                digest = large[file].result() if file in large else _digest(file)
                if isinstance(digest, ImageError):
                    faults[file] = digest
                else:
                    kept.append(item)
                    digests.append(digest)
    files = tuple(file for file, _ in kept)
    return Split(files, np.array([label for _, label in kept], np.int64), np.array(digests, np.uint64))


def _is_large(file: pathlib.Path) -> bool:
    """Whether decoding a file takes longer than threads wait for each other."""
    try:
        return file.stat().st_size > _LARGE_FILE
    except OSError:
        return False


def _digest(file: pathlib.Path) -> int | ImageError:
    """The first eight bytes of the SHA-256 of an image file; an error if it cannot be read as an image."""
    try:
        open_image(file, 1)
        with open(file, "rb") as opened:
            return int.from_bytes(hashlib.file_digest(opened, "sha256").digest()[:8], "big")
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(f"{file} cannot be read as an image: {(error.strerror or str(error)).lower()}.")


def _bad_files_error(faults: Collection[str]) -> DataError:
    what, them = "1 file cannot be read as an image", "it"
    if len(faults) > 1:
        what, them = f"{len(faults)} files cannot be read as images", "them"
    return DataError(f"{what} (remove {them}, or skip {them} with --skip-bad-files):", faults)


def _size(file: pathlib.Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        fault = (error.strerror or str(error)).lower()
        raise DataError(f"{file} can no longer be read ({fault}): put it back, or start again.") from None


def _hint_at_deeper_folders(data: ImageFolders) -> str:
    """A hint if the images of the only class all are in folders inside of it."""
    depth = len((data.root / "class" / "file").parts) + bool(data.split_folders)
    if all(len(file.parts) > depth for file in data.merged().files):
        return ". If the folders inside it are the classes, move them one level up"
    return ""


def _missing_class_message(data: ImageFolders, index: np.intp) -> str:
    name = data.label_names[index]
    elsewhere = [split for split in data.splits if data.counts(split)[index]]
    twins = [other for other in data.label_names if other != name and loose_form(other) == loose_form(name)]
    if not elsewhere:
        return f"Class {name!r} has no images in {data.root}: add some, or remove its folder."
    if twins:
        return f"{data.root} has the classes {twins[0]!r} and {name!r}: give them the same name."
    if data.split_folders:
        return (
            f"Class {name!r} has images in {elsewhere[0]}, but none in train ({data.root}): add some, or "
            "remove its folders."
        )
    images = data.merged()
    count = len(np.unique(images.digests[images.labels == index]))  # copies are in the same split
    return (
        f"Class {name!r} in {data.root} has only {count} different image{'s' * (count > 1)}, and none of "
        "them for training after the split: add more images, or make the folders train/ and val/."
    )
