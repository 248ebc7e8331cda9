"""Names of ImageNet's classes, for repositories whose classes have no names, as timm's."""

import collections
import functools
import gzip
import pathlib
import re
from collections.abc import Iterable

# Each line has a synset, the subsets that contain it, its name, and a few words that tell it from others of
# the same name. A subset's classes are in the order of their synsets. Made from timm's lists by
# tests/benchmarks/timm_facts.py.
DATA = pathlib.Path(__file__).parent / "imagenet_classes.tsv.gz"
_SUBSETS = {1000: "1k", 11821: "12k", 21841: "22k"}
_TAGS = {"1k": ("in1k",), "12k": ("in12k",), "22k": ("in22k", "in21k")}


def class_names(count: int, tag: str = "") -> tuple[str, ...] | None:
    """Returns the names of the classes of ImageNet-1k, -12k or -22k in the order of timm's logits.

    No two are equal.

    Args:
        count: The number of classes.
        tag: The tag of timm's checkpoint, such as "a1h_in1k" or "sw_in12k_ft_in1k". The last data set that it
            names must be the subset of that size.

    Returns:
        The names, or None if no subset has that many classes or the tag names other data.
    """
    subset = _SUBSETS.get(count)
    trained = re.findall(r"in\d+k", tag)
    if subset is None or (tag and (not trained or trained[-1] not in _TAGS[subset])):
        return None
    return _read(subset)


def disambiguate(names: Iterable[str], notes: Iterable[str]) -> tuple[str, ...]:
    """Adds to each name that several classes share its note in brackets.

    Args:
        names: The names.
        notes: A note for each name.
    """
    names = tuple(names)
    shared = {name for name, count in collections.Counter(names).items() if count > 1}
    return tuple(
        f"{name} ({note})" if name in shared else name for name, note in zip(names, notes, strict=True)
    )


@functools.cache
def _read(subset: str) -> tuple[str, ...]:
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        rows = (line.rstrip("\n").split("\t") for line in file)
        names, notes = zip(*((name, note) for _, subsets, name, note in rows if subset in subsets.split()))
    return disambiguate(names, notes)
