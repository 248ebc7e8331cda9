"""What a data set holds, as lines to read before training: classes by split, what was left out, warnings."""

import collections
import pathlib
from collections.abc import Sequence

import numpy as np

from resnext.errors import printable

from .data import TEST_FRACTION, VAL_FRACTION, ImageFolders, loose_form
from .folders import SPLIT_OF, describe_skipped
from .tables import format_table

_MAX_CLASSES = 30  # that have a line of their own
_FEW_IMAGES = 10  # training images of a class
_IMBALANCE = 10  # the largest class over the smallest
_MAX_NAMES = 5  # that a warning lists


def overview(data: ImageFolders) -> list[str]:
    """Formats a table of the classes and splits, and lists what was left out and what may be wrong.

    Args:
        data: The data set.
    """
    return [
        *_table(data),
        *_divided(data),
        *describe_skipped(data.skipped, data.root),
        *(f"Warning: {text}" for text in find_problems(data)),
    ]


def find_problems(data: ImageFolders) -> list[str]:
    """Finds what makes training or testing on a data set less than it seems, a sentence for each."""
    return [
        *_overlaps(data),
        *_ambiguous_images(data),
        *_missing_classes(data),
        *_class_sizes(data),
        *_class_names(data),
    ]


def _table(data: ImageFolders) -> list[str]:
    splits = list(data.splits)
    counts = np.stack([data.counts(split) for split in splits], axis=1)
    names = [printable(name) for name in data.label_names]
    order = range(len(names))
    if len(names) > _MAX_CLASSES:  # the largest and the smallest
        by_size = np.argsort(-counts.sum(axis=1), kind="stable")
        half = _MAX_CLASSES // 2
        order = [*by_size[:half], *by_size[-half:]]
    rows = [(names[index], *map(int, counts[index])) for index in order]
    if len(names) > _MAX_CLASSES:
        rows.insert(_MAX_CLASSES // 2, (f"... {len(names) - _MAX_CLASSES} more", *[""] * len(splits)))
    rows = [
        ("class", *splits),
        *rows,
        (f"{len(names)} class{'es' * (len(names) > 1)}", *map(int, counts.sum(axis=0))),
    ]
    return format_table([[str(cell) for cell in row] for row in rows], left=1)


def _divided(data: ImageFolders) -> list[str]:
    """What was split here, and how."""
    if not data.split_folders:
        rest = 1 - VAL_FRACTION - TEST_FRACTION
        return [f"Split by content: {rest:.0%} train, {VAL_FRACTION:.0%} val, {TEST_FRACTION:.0%} test."]
    if "train" in data.split_folders and "val" not in data.split_folders:
        return [f"There is no val folder: {VAL_FRACTION:.0%} of train are used as val, split by content."]
    return []


def _overlaps(data: ImageFolders) -> list[str]:
    problems = []
    for split, other in (("val", "train"), ("test", "train"), ("test", "val")):
        if split not in data.splits or other not in data.splits:
            continue
        images, others = data.splits[split], data.splits[other]
        inside = np.isin(images.digests, others.digests)
        count = int(inside.sum())
        if count:
            place = int(inside.argmax())
            twin = int((others.digests == images.digests[place]).argmax())
            problems.append(
                f"{count} image{'s' * (count > 1)} of {split} {'are' if count > 1 else 'is'} also in {other} "
                f"({_same(data, images.files[place], others.files[twin])}): results on {split} are too good."
            )
    return problems


def _ambiguous_images(data: ImageFolders) -> list[str]:
    """Images that are in several classes, by their content."""
    images = data.merged()
    pairs = np.unique(np.stack([images.digests, images.labels.astype(np.uint64)]), axis=1)
    digests, classes = np.unique(pairs[0], return_counts=True)
    twice = digests[classes > 1]
    if not len(twice):
        return []
    places = np.flatnonzero(images.digests == twice[0])
    first, second = places[np.unique(images.labels[places], return_index=True)[1][:2]]
    return [
        f"{len(twice)} image{'s are' if len(twice) > 1 else ' is'} in more than one class "
        f"({_same(data, images.files[first], images.files[second])})."
    ]


def _same(data: ImageFolders, file: pathlib.Path, other: pathlib.Path) -> str:
    return printable(f"{file.relative_to(data.root)} is {other.relative_to(data.root)}")


def _missing_classes(data: ImageFolders) -> list[str]:
    problems = []
    for split in data.splits:
        missing = [name for name, count in zip(data.label_names, data.counts(split)) if not count]
        if missing and split != "train":
            problems.append(f"{split} has no images of {_listed(missing)}.")
    return problems


def _class_sizes(data: ImageFolders) -> list[str]:
    if "train" not in data.splits:
        return []
    counts = data.counts("train")
    problems = []
    few = [name for name, count in zip(data.label_names, counts) if 0 < count < _FEW_IMAGES]
    if few:
        problems.append(f"fewer than {_FEW_IMAGES} training images of {_listed(few)}.")
    if counts.max() > _IMBALANCE * max(1, counts.min()):
        largest, smallest = (printable(data.label_names[i]) for i in (counts.argmax(), counts.argmin()))
        problems.append(
            f"{largest} has {counts.max()} training images, {smallest} {counts.min()}: consider "
            f"--class-weights balanced."
        )
    return problems


def _class_names(data: ImageFolders) -> list[str]:
    names = data.label_names
    problems = [
        f"{printable(name)} is taken as a class: for a split, it would hold class folders."
        for name in names
        if not data.split_folders and name.lower() in SPLIT_OF
    ]
    groups = collections.defaultdict(list)
    for name in names:
        groups[loose_form(name)].append(name)
    problems += [
        f"{printable(' and '.join(map(repr, group)))} are different classes: if they are one, give their "
        "folders the same name."
        for group in groups.values()
        if len(group) > 1
    ]
    return problems


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{len(names)} class{'es' * (len(names) > 1)}: {printable(', '.join(names[:_MAX_NAMES]))}{more}"
