"""What the tests of training share: a tiny network, and training and evaluation without printed lines."""

import os
import pathlib

import numpy as np

from resnext.architecture import Architecture
from resnext.classifier import Classifier
from resnext.config import ModelConfig, Preprocessing
from resnext.repository import Repository, find_repository
from resnext.results import Evaluation, read_evaluation, read_history
from resnext.weights import save_tensors
from tests.helpers.repositories import random_tensors
from training.data import find_images
from training.evaluate import evaluate

# Of losses of several devices: their sums are in another order, and random weights amplify the rounding.
TOLERANCE = 0.01
TINY = Architecture(layers=(1, 1, 1, 1), channels=(8, 8, 8, 8), cardinality=2, base_width=32)


def write_network(
    folder: pathlib.Path, label_names=("ant", "bee"), architecture=TINY, **preprocessing
) -> Repository:
    """Writes a model repository with random weights, for images of 64 x 64 pixels unless told otherwise."""
    prep = Preprocessing(**{"image_size": 64, **preprocessing})
    ModelConfig("resnext50_32x4d", architecture, label_names, prep).write(folder / "config.json")
    save_tensors(random_tensors(architecture, len(label_names)), folder / "model.safetensors")
    return find_repository(folder)


def losses(output):
    """The training and validation losses and accuracies of each epoch."""
    keys = ("loss", "accuracy", "val_loss", "val_accuracy")
    return np.array([[row[key] for key in keys] for row in read_history(output)])


def quiet(line: str) -> None:
    """Ignores a line of progress."""


def train(data: pathlib.Path, output: pathlib.Path, recipe, pictures=False, **options) -> pathlib.Path:
    """Trains on the images in a folder, and draws no batch unless told to, which takes a second."""
    from training.fit import fit

    return fit(find_images(data), output, recipe, report=quiet, pictures=pictures, **options)


def evaluate_quietly(data: pathlib.Path, repository: pathlib.Path, output: pathlib.Path) -> Evaluation:
    """Evaluates a model repository on the images in a folder."""
    classifier = Classifier.from_pretrained(repository, precision="float32")
    return evaluate(find_images(data), classifier, output, report=quiet)


def thumbnails(output: pathlib.Path) -> dict[str, str]:
    """The thumbnails that evaluation.json names, by the image that each shows."""
    predictions = read_evaluation(output).predictions
    return {row.file: row.thumbnail for row in predictions if row.thumbnail}


class Killed(BaseException):
    """What stands for SIGKILL: nothing catches it, and what was written stays."""


def die_when(monkeypatch, file, after):
    """Kills the process before or after a file is renamed into place for the first time."""
    replace = os.replace

    def dying(source, target):
        if pathlib.Path(target).match(file):
            if after:
                replace(source, target)
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", dying)
