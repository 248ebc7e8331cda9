"""What the page reads of a repository's files: untrusted text, checked here."""

import csv
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from resnext.page.markup import sentence, table
from resnext.page.words import say

MOST_BYTES = 64 * 2**20
HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def read(path: pathlib.Path, parse: Callable[[str], Any], otherwise: str, tongue: str = "en") -> Any:
    """What `parse` makes of a file, or a sentence as HTML if the repository has none or a broken one."""
    values = {"file": path.name, "otherwise": say(tongue, otherwise)}
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return parse(path.read_text("utf-8"))
    except FileNotFoundError:
        return sentence(say(tongue, "This repository has no {file}, so {otherwise}.", **values))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error) as error:
        fault = f"{type(error).__name__}: {error}"
        text = "The {file} of this repository cannot be read ({fault}), so {otherwise}."
        return sentence(say(tongue, text, fault=fault, **values))


def _from_json(text: str) -> Any:
    values = json.loads(text)
    json.dumps(values, ensure_ascii=False).encode()  # raises ValueError for half characters, which no page can be sent
    return values


def parse_history(text: str) -> list[dict[str, float]]:
    """The rows of history.csv; a NaN leaves a gap in the curves."""
    rows = [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(text.splitlines())]
    if not rows:
        raise ValueError("it has no rows")
    return rows


def parse_evaluation(text: str) -> dict[str, Any]:
    """evaluation.json, its tables as rows of text and numbers.

    Returns:
        numbers (texts by name), classes (texts), confusion_matrix (classes, classes) int64, per_class and predictions
        (rows of cells).
    """
    values = _from_json(text)
    classes = [str(label) for label in values["classes"]]
    matrix = np.array(values["confusion_matrix"], np.int64)
    if not classes or matrix.shape != (len(classes), len(classes)) or matrix.min() < 0:
        raise ValueError(f"its confusion matrix does not fit {len(classes)} classes")
    shown = {
        "top1": ("top-1 accuracy", ".1%"), "top5": ("top-5 accuracy", ".1%"), "loss": ("loss", ".3f"), "samples": ("images", ",.0f")
    }  # fmt: skip
    numbers = {name: format(float(values[key]), form) for key, (name, form) in shown.items() if values.get(key) is not None}
    per_class = [
        (str(row["label"]), *(f"{float(row[key]):.3f}" for key in ("precision", "recall", "f1")), f"{row['support']:,d}")
        for row in values["per_class"]
    ]
    predictions = [
        (str(row["file"]), str(row["true"]), str(row["predicted"]), f"{float(row['probability']):.1%}",
         "✓ right" if row["true"] == row["predicted"] else "✗ wrong")
        for row in values["predictions"][:10]
    ]  # fmt: skip
    tables = {"per_class": per_class, "predictions": predictions}
    return {"numbers": numbers, "classes": classes, "confusion_matrix": matrix, **tables}


def recipe_tables(text: str) -> str:
    """recipe.json as HTML tables: the settings, the data set, the versions and the machine."""
    values = _from_json(text)
    dataset, images = values["dataset"], values["dataset"]["images"]
    data = {"name": dataset["name"], **{f"{split} images": count for split, count in images.items()}}
    data |= {"fingerprint": dataset["fingerprint"][:12]}
    machine = {**values["versions"], "hardware": values["hardware"]}
    sections = {"Recipe": values["recipe"], "Data set": data, "Software and hardware": machine}
    tables = [
        table(title, (), [(key.replace("_", " "), _as_text(value)) for key, value in section.items()])
        for title, section in sections.items()
    ]
    return f'<div class="tables">{tables[0]}<div class="tables">{"".join(tables[1:])}</div></div>'


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    return f"{value:,g}" if isinstance(value, float) else str(value)
