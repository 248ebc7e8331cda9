"""The files of a folder of images: their splits and classes, and what is left out and why."""

import os
import pathlib
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from resnext.errors import DataError, printable
from resnext.image_formats import is_hidden

# The names of the folders of the splits, in any case.
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "validate", "dev"),
    "test": ("test", "testing"),
}
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
# Each says that a folder is a model repository, a run of `fit` or what `evaluate` wrote, which has images but
# is not a class.
_REPOSITORY_FILES = ("model.safetensors", "recipe.json", "evaluation.json")

# Why files and folders are left out.
HIDDEN = "hidden or system file or folder"
BROKEN_LINK = "broken link"
REPEATED_FOLDER = "link to a folder that holds it or is here already"
NOT_A_FILE = "not a regular file"
LOOSE = "file outside of the class folders"
REPOSITORY = "folder of a model or its results"
_MAX_EXAMPLES = 3  # paths that are shown for each reason

# The files of each class, by the name of the class.
ClassFiles = dict[str, list[pathlib.Path]]
# The files and folders that are left out, by the reason.
Skipped = dict[str, list[pathlib.Path]]


class _Entry(NamedTuple):
    """A file or folder in a folder.

    Args:
        path: The path.
        folder: Device and inode of a folder, the same by whichever link it is reached; None for a file.
        reason: Why it is left out, whatever it holds; None if it is not.
    """

    path: pathlib.Path
    folder: tuple[int, int] | None
    reason: str | None


def find_split_folders(root: pathlib.Path, skipped: Skipped) -> dict[str, pathlib.Path]:
    """Finds the folders of the splits; none if `root` holds the class folders itself.

    Args:
        root: The folder of the data set.
        skipped: Gets what is left out, by the reason.

    Returns:
        The folders by the names of the splits, in the order of `SPLITS`.

    Raises:
        DataError: A split has several folders, such as `val` and `valid`, there is a folder beside them that
            fits none, or there are only folders with names that are similar to those of splits.
    """
    entries = _list(root)
    found = [path for path in _folders(entries) if path.name.lower() in SPLIT_OF]
    others = [path for path in _folders(entries) if path.name.lower() not in SPLIT_OF]
    # A folder named as a split that holds images itself, beside class folders, is a class: car, plane, train.
    if not found or (others and not any(map(_has_folders, found))):
        _check_similar_names(root, others)
        return {}
    folders: dict[str, pathlib.Path] = {}
    for path in found:
        split = SPLIT_OF[path.name.lower()]
        if split in folders:
            raise DataError(
                f"{root} has both {folders[split].name}/ and {path.name}/: keep one {split} folder."
            )
        folders[split] = path
    if others:
        raise DataError(
            f"{root} has {found[0].name}/ for a split, but {others[0].name}/ beside it is not a split: "
            "name it train, val or test, or move it elsewhere."
        )
    _skip_all_but_folders(entries, skipped)
    return {split: folders[split] for split in SPLITS if split in folders}


def find_class_files(folder: pathlib.Path, skipped: Skipped) -> ClassFiles:
    """Finds the files of each class: all files in a class folder and below, but hidden and system files.

    Args:
        folder: A folder with one folder per class. The composed and the decomposed form of a name (Unicode's
            NFC and NFD, which macOS uses) are the same class.
        skipped: Gets what is left out, by the reason.

    Raises:
        DataError: A folder cannot be listed, or a class folder holds the folders of several splits.
    """
    entries = _list(folder)
    _skip_all_but_folders(entries, skipped)
    classes: ClassFiles = {}
    for path in _folders(entries):
        inside = _list(path)
        _check_no_splits(path, inside)
        parents = (path, *path.absolute().parents, *path.resolve().parents)
        visited = set(filter(None, map(_identity, parents)))
        files = classes.setdefault(unicodedata.normalize("NFC", path.name), [])
        files += _find_files(inside, visited, skipped)
    return classes


def describe_skipped(skipped: Mapping[str, Sequence[pathlib.Path]], root: pathlib.Path) -> list[str]:
    """Formats what was left out: a line for each reason, with its count and a few examples.

    Args:
        skipped: The files and folders, by the reason.
        root: The folder of the data set.
    """
    lines = []
    for reason, paths in skipped.items():
        examples = ", ".join(str(path.relative_to(root)) for path in paths[:_MAX_EXAMPLES])
        more = f" and {len(paths) - _MAX_EXAMPLES} more" if len(paths) > _MAX_EXAMPLES else ""
        if paths:
            lines.append(f"Left out: {len(paths)} x {reason} ({printable(examples)}{more})")
    return lines


def _find_files(
    entries: Sequence[_Entry], visited: set[tuple[int, int]], skipped: Skipped
) -> Iterator[pathlib.Path]:
    """The files among the entries of a folder and below, in alphabetical order, at any depth.

    Args:
        entries: The entries.
        visited: The folders that are not entered again. Gets those that are found.
        skipped: Gets what is left out, by the reason.
    """
    stack = [iter(entries)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif entry.reason or entry.folder in visited:
            skipped.setdefault(entry.reason or REPEATED_FOLDER, []).append(entry.path)
        elif entry.folder:
            visited.add(entry.folder)
            stack.append(iter(_list(entry.path)))
        else:
            yield entry.path


def _list(folder: pathlib.Path) -> list[_Entry]:
    """The files and folders in a folder, in alphabetical order."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({(error.strerror or str(error)).lower()}): make it readable or move "
            "it elsewhere, and start again."
        ) from None
    return [_look_at(folder / name) for name in names]


def _look_at(path: pathlib.Path) -> _Entry:
    name = path.name.lower()
    folder = reason = None
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            folder = status.st_dev, status.st_ino
            if any(os.path.isfile(path / file) for file in _REPOSITORY_FILES):
                reason = REPOSITORY
        elif not stat.S_ISREG(status.st_mode):
            reason = NOT_A_FILE
    except PermissionError:
        pass  # reported when it is read
    except OSError:
        # Otherwise the file was removed just now, which is an error when it is read.
        reason = BROKEN_LINK if os.path.islink(path) else None
    if is_hidden(name):
        reason = HIDDEN
    return _Entry(path, folder, reason)


def _identity(folder: pathlib.Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _folders(entries: Iterable[_Entry]) -> list[pathlib.Path]:
    return [entry.path for entry in entries if entry.folder and not entry.reason]


def _has_folders(folder: pathlib.Path) -> bool:
    return bool(_folders(_list(folder)))


def _skip_all_but_folders(entries: Iterable[_Entry], skipped: Skipped) -> None:
    for entry in entries:
        if entry.reason or not entry.folder:
            skipped.setdefault(entry.reason or LOOSE, []).append(entry.path)


def _check_similar_names(root: pathlib.Path, folders: Iterable[pathlib.Path]) -> None:
    """Refuses folders such as training_set/ and test_set/, which would be trained as classes."""
    similar: dict[str, str] = {}
    for path in folders:
        words = re.findall("[A-Z]?[a-z]+|[A-Z]+", path.name)
        splits = [SPLIT_OF.get(word.lower().removesuffix("set")) for word in words]
        split = next(filter(None, splits), None)
        if split and _has_folders(path):
            similar.setdefault(split, path.name)
    if len(similar) > 1:
        found = ", ".join(f"{similar[split]}/" for split in SPLITS if split in similar)
        names = ", ".join(split for split in SPLITS if split in similar)
        raise DataError(f"{root} has {found}, which seem to be splits: name them {names}.")


def _check_no_splits(folder: pathlib.Path, entries: Iterable[_Entry]) -> None:
    """Refuses a class folder that holds splits, all of which would be trained on."""
    inside = {SPLIT_OF.get(path.name.lower()): path.name for path in _folders(entries)}
    splits = [inside[split] for split in SPLITS if split in inside]
    if len(splits) > 1:
        raise DataError(
            f"{folder} holds {', '.join(f'{name}/' for name in splits)}: give {folder} itself as the data "
            f"or, if {folder.name} is a class, put it into the splits ({splits[0]}/{folder.name}/)."
        )
