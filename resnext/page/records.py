"""What the page reads of a repository's files: untrusted text, checked here."""

import csv
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from resnext.page.i18n import say, setting
from resnext.page.markup import sentence, table

# Of JSON and CSV, which take up to forty times as much memory once they are read; ImageNet's evaluation has 15 MB.
MAX_BYTES = {"evaluation.json": 24 * 2**20, "recipe.json": 2**20, "history.csv": 2**20}
HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def read(path: pathlib.Path, parse: Callable[[str], Any], otherwise: str, language: str = "en") -> Any:
    """What `parse` makes of a file, or a sentence as HTML if the repository has none or a broken one."""
    values = {"file": path.name, "otherwise": say(language, otherwise)}
    if not os.path.isfile(path):  # opening a pipe would wait forever
        return sentence(say(language, "This repository has no {file}, so {otherwise}.", **values))
    try:
        if path.stat().st_size > MAX_BYTES[path.name]:
            raise ValueError(f"it is larger than {MAX_BYTES[path.name] >> 20} MiB")
        return parse(path.read_text("utf-8"))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        csv.Error,
    ) as error:
        fault = f"{type(error).__name__}: {error}"
        text = "The {file} of this repository cannot be read ({fault}), so {otherwise}."
        return sentence(say(language, text, fault=fault, **values))


def _from_json(text: str) -> Any:
    values = json.loads(text)
    json.dumps(
        values, ensure_ascii=False
    ).encode()  # raises ValueError for half characters, which no page can be sent
    return values


def parse_history(text: str) -> list[dict[str, float]]:
    """The rows of history.csv; a NaN leaves a gap in the curves."""
    rows = [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(text.splitlines())]
    if not rows:
        raise ValueError("it has no rows")
    return rows


def parse_evaluation(text: str) -> dict[str, Any]:
    """evaluation.json, checked.

    Returns:
        numbers (float by key), classes (texts), confusion_matrix (classes, classes) int64, per_class (rows of label,
        precision, recall, F1, images), predictions (file, true, predicted, probability, thumbnail or None), calibration.
    """
    values = _from_json(text)
    classes = [str(label) for label in values["classes"]]
    matrix = np.array(values["confusion_matrix"], np.int64)
    if not classes or matrix.shape != (len(classes), len(classes)) or matrix.min() < 0:
        raise ValueError(f"its confusion matrix does not fit {len(classes)} classes")
    numbers = {
        key: float(values[key]) for key in ("top1", "top5", "loss", "samples") if values.get(key) is not None
    }
    per_class = [
        (
            str(row["label"]),
            *(round(float(row[key]), 3) for key in ("precision", "recall", "f1")),
            int(row["support"]),
        )
        for row in values["per_class"]
    ]
    predictions = [
        (
            str(row["file"]),
            str(row["true"]),
            str(row["predicted"]),
            float(row["probability"]),
            row.get("thumbnail"),
        )
        for row in values["predictions"]
    ]
    if not all(0 <= probability <= 1 for *_, probability, _ in predictions):
        raise ValueError("a probability is not between 0 and 1")
    bins = calibration(predictions)
    return {
        "numbers": numbers,
        "classes": classes,
        "confusion_matrix": matrix,
        "per_class": per_class,
        "predictions": predictions,
        "calibration": bins,
    }


def calibration(predictions: list[tuple], bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean probability, share right, images) of each of so many equal intervals of probability, if it has images."""
    probability = np.array([row[3] for row in predictions], float)
    right = np.array([row[1] == row[2] for row in predictions], float)
    places = np.minimum((probability * bins).astype(int), bins - 1)
    inside = (places == index for index in range(bins))
    return [(float(probability[b].mean()), float(right[b].mean()), int(b.sum())) for b in inside if b.any()]


def calibration_error(bins: list[tuple[float, float, int]]) -> float:
    """Expected calibration error: the bins' gaps between probability and share right, weighted by their images."""
    return sum(abs(given - right) * images for given, right, images in bins) / sum(
        images for *_, images in bins
    )


def calibration_bias(bins: list[tuple[float, float, int]]) -> float:
    """How much more often the network was right than it said; below 0, less often."""
    return sum((right - given) * images for given, right, images in bins) / sum(images for *_, images in bins)


def most_confused(matrix: np.ndarray) -> tuple[int, int]:
    """Row and column of the most frequent confusion; those of the first class if nothing was confused."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    return int(row), int(column)


def recipe_tables(text: str, language: str = "en") -> str:
    """recipe.json as HTML tables: the settings, the data set, the versions and the machine."""
    values = _from_json(text)
    dataset, images = values["dataset"], values["dataset"]["images"]
    data = {"name": dataset["name"], **{f"{split} images": count for split, count in images.items()}}
    data |= {"fingerprint": dataset["fingerprint"][:12]}
    machine = {**values["versions"], "hardware": values["hardware"]}
    sections = {"Recipe": values["recipe"], "Data set": data, "Software and hardware": machine}
    tables = [
        table(
            say(language, title),
            (),
            [(setting(language, key), _as_text(value, language)) for key, value in section.items()],
        )
        for title, section in sections.items()
    ]
    return f'<div class="tables">{tables[0]}<div class="tables">{"".join(tables[1:])}</div></div>'


def _as_text(value: Any, language: str) -> str:
    if isinstance(value, bool):
        return say(language, "yes" if value else "no")
    if isinstance(value, list):
        return ", ".join(_as_text(item, language) for item in value)
    return f"{value:,g}" if isinstance(value, float) else str(value)
