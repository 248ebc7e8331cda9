"""Names of ImageNet's classes, for repositories that number their classes without naming them, as timm's do."""

import collections
import functools
import gzip
import pathlib
import re
from collections.abc import Iterable

# Lines of synset, the subsets that have it, name, and a few words that tell it from others of that name. A subset's classes
# are in the order of their synsets. Made from timm's lists by tests/benchmarks/timm_facts.py.
DATA = pathlib.Path(__file__).parent / "imagenet_classes.tsv.gz"
_SUBSETS = {1000: "1k", 11821: "12k", 21841: "22k"}
_TAGS = {"1k": ("in1k",), "12k": ("in12k",), "22k": ("in22k", "in21k")}


def class_names(count: int, tag: str = "") -> tuple[str, ...] | None:
    """Names of the classes of ImageNet-1k, -12k or -22k in the order of timm's logits, each different from the others.

    Args:
        count: number of classes.
        tag: of timm's checkpoint, such as "a1h_in1k" or "sw_in12k_ft_in1k"; its last data set has to be the one of that size.

    Returns:
        The names, or None if no subset has that many, or the tag tells of other data.
    """
    subset = _SUBSETS.get(count)
    trained = re.findall(r"in\d+k", tag)
    if subset is None or (tag and (not trained or trained[-1] not in _TAGS[subset])):
        return None
    return _read(subset)


def distinct(names: Iterable[str], notes: Iterable[str]) -> tuple[str, ...]:
    """Names of which those that several share have their note added in brackets."""
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
    return distinct(names, notes)
