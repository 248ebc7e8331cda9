"""Small model repositories of random weights."""

import csv
import json
import pathlib

import numpy as np

from resnext.architecture import find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.shapes import tensor_shapes
from resnext.weights import save_tensors
from tests.helpers.photographs import save_image

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
# Class names that would run as programs in a page that does not escape them.
HOSTILE = (
    '<img src=x onerror="window.hacked = 1">',
    "<script>window.hacked = 2</script>",
    "${window.hacked = 3}",
    "{{hacked}} `${window.hacked = 4}`",
    '<a href="javascript:window.hacked = 5">tulips</a>',
)


def random_tensors(architecture, num_classes, seed=0):
    """float32 weights under timm's keys, with batch norm statistics that change the activations."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for key, shape in tensor_shapes(architecture, num_classes).items():
        if key.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = rng.normal(1.0 if key.endswith("weight") else 0.0, 0.1, shape)
        else:
            value = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        tensors[key] = value.astype(np.float32)
    return tensors


def make_repository(folder: pathlib.Path, labels=FLOWERS, *, complete: bool = True) -> pathlib.Path:
    """Writes a model repository of `resnext26_small` with random weights, for images of 64 x 64 pixels.

    Args:
        folder: The folder to create.
        labels: The names of the classes.
        complete: Whether the repository also has a training history, an evaluation, a card and examples.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(0)
    architecture = find_architecture("resnext26_small")
    config = ModelConfig("resnext26_small", architecture, tuple(labels), Preprocessing(64))
    config.write(folder / "config.json")
    tensors = {
        key: rng.uniform(0.5, 1.5, shape) if key.endswith("running_var") else rng.normal(0, 0.1, shape)
        for key, shape in tensor_shapes(architecture, len(labels)).items()
    }
    # Small logits: several classes share the probability, and their bars can be told apart.
    tensors["fc.weight"] = tensors["fc.weight"] * 0.1
    tensors = {key: tensor.astype(np.float32) for key, tensor in tensors.items()}
    save_tensors(tensors, folder / "model.safetensors")
    if complete:
        _write_history(folder / "history.csv")
        _write_recipe(folder / "recipe.json")
        (folder / "evaluation.json").write_text(json.dumps(evaluation(labels)), "utf-8")
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n\nFor tests.\n", "utf-8")
        _write_examples(folder / "examples")
    return folder


def _write_history(path: pathlib.Path) -> None:
    """Twenty epochs, of which the fourteenth has the lowest validation loss."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"))
        for epoch in range(1, 21):
            training = (2 / epoch, 1 - 1 / epoch)
            validation = (1 + (epoch - 14) ** 2 / 99, 0.9 - 0.5 / epoch)
            rows.writerow((epoch, *training, *validation, 0.1 / epoch, 7))


def _write_recipe(path: pathlib.Path) -> None:
    recipe = {
        "recipe": {
            "model": "resnext26_small",
            "learning_rate": 0.05,
            "cosine": True,
            "mean": [0.5, 0.5, 0.5],
        },
        "dataset": {"name": "flowers", "fingerprint": "fc87" * 16, "images": {"train": 2182, "val": 385}},
        "versions": {"python": "3.11.7"},
        "hardware": "one CPU",
    }
    path.write_text(json.dumps(recipe), "utf-8")


def _write_examples(folder: pathlib.Path) -> None:
    folder.mkdir()
    for index in range(3):
        save_image(folder / f"example{index}.jpg", seed=index)
    (folder / "CREDITS.md").write_text("By <b>nobody</b>, public domain.", "utf-8")


def evaluation(labels) -> dict:
    """An evaluation.json: of each class, 21 images are right and one is predicted as each other class."""
    count = len(labels)
    rows = [
        {"label": label, "precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 20 + count}
        for label in labels
    ]
    predictions = [
        {
            "file": f"test/{index}.jpg",
            "true": labels[index % count],
            "predicted": labels[0],
            "probability": 0.5,
        }
        for index in range(12)
    ]
    return {
        "top1": 0.84,
        "top5": 1.0,
        "loss": 0.61,
        "samples": 125,
        "dtype": "float32",
        "classes": list(labels),
        "confusion_matrix": (np.eye(count, dtype=int) * 20 + 1).tolist(),
        "per_class": rows,
        "predictions": predictions,
    }
