"""Which images a network was trained on, so that it is not tested on them unknowingly."""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np

from resnext.errors import DataError, WeightsError
from resnext.recipe_file import JSON_ERRORS
from resnext.weights import read_tensors, write_safetensors

from .data import ImageFolders
from .run_folder import PRIVATE

# The digests of the training and validation images. It stays on this machine: published, it would tell
# whether a certain photograph was used.
_FILE = "training_images.safetensors"


def save_training_images(folder: pathlib.Path, data: ImageFolders) -> None:
    """Records the content of the training and validation images beside the network that they train.

    Args:
        folder: The model repository.
        data: The data set.
    """
    digests = {name: data.splits[name].digests for name in ("train", "val") if name in data.splits}
    write_safetensors(
        digests, folder / PRIVATE / _FILE, {"content": "first eight bytes of each image's SHA-256"}
    )


def choose_test_images(
    data: ImageFolders, folder: pathlib.Path, report: Callable[[str], object]
) -> tuple[ImageFolders, int | None]:
    """Chooses the images that a network is tested on.

    Those are the test split of the data set that it was trained on, and the test folder of another one. A
    single folder of classes that it was not trained on is tested as a whole. In both, images that the network
    was trained or chosen by are left out, as far as they are known.

    Args:
        data: The data set.
        folder: The model repository.
        report: Called with a line if the data set is another one, or the training images are not known.

    Returns:
        The data set with these images as its split "test", if there are any, and how many of them have the
        same content as an image that the network was trained or chosen by; None if that is not known.

    Raises:
        DataError: The network was trained or chosen by all of them.
    """
    recorded = _recorded_fingerprint(folder)
    if data.fingerprint() == recorded:
        return data, _count_known(data)
    if data.split_folders and "test" not in data.splits:
        return data, None
    test = data.splits["test"] if data.split_folders else data.merged()
    which = "its test folder" if data.split_folders else "all of it"
    known = _training_images(folder, report)
    if known is not None:
        unseen = ~np.isin(test.digests, known)
        if not unseen.any():
            raise DataError(
                f"{data.root} has nothing to test on, because {which} was used to train the model or to "
                "choose its weights: give other images."
            )
        if not unseen.all():
            images = _count(int((~unseen).sum()))
            which += f", without {images} used to train the model or to choose its weights"
        test = test.select(unseen)
    which += f" ({_count(len(test))})"
    if recorded is not None:
        report(f"{data.root} is not the data set that the model was trained on: testing on {which}.")
    elif not data.split_folders:
        report(f"It is not recorded what the model was trained on: testing on {which}.")
    return dataclasses.replace(data, splits={**data.splits, "test": test}), None if known is None else 0


def _count(images: int) -> str:
    return f"{images} image{'s' * (images != 1)}"


def _count_known(data: ImageFolders) -> int:
    """The number of test images whose content is also in the training or validation set."""
    others = [split.digests for name, split in data.splits.items() if name != "test"]
    test = data.splits["test"].digests if "test" in data.splits else np.zeros(0, np.uint64)
    return int(np.isin(test, np.concatenate([np.zeros(0, np.uint64), *others])).sum())


def _recorded_fingerprint(folder: pathlib.Path) -> str | None:
    try:
        fingerprint = json.loads((folder / "recipe.json").read_bytes())["dataset"]["fingerprint"]
    except JSON_ERRORS:
        return None
    return fingerprint if isinstance(fingerprint, str) else None


def _training_images(folder: pathlib.Path, report: Callable[[str], object]) -> np.ndarray | None:
    """(images,) uint64 digests; None if they are not known."""
    path = folder / PRIVATE / _FILE
    if not path.is_file():
        return None
    try:
        digests = read_tensors(path)
        known = np.concatenate([digests["train"], digests["val"]])
        if known.dtype == np.uint64:
            return known
    except (WeightsError, KeyError, ValueError):
        pass
    report(f"{path} is corrupt: images that were used to train the model cannot be recognized.")
    return None
