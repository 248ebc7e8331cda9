"""history.csv: a row for every finished epoch."""

import csv
import math
import pathlib

from resnext.atomic import replacing
from resnext.errors import DataError

COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")


def read_history(path: pathlib.Path) -> list[dict[str, float]]:
    """history.csv's rows, numbers by column; none if the file is not there.

    Raises:
        DataError: it holds anything else.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            return [
                {key: (int if key == "epoch" else float)(row[key]) for key in COLUMNS}
                for row in csv.DictReader(file)
            ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            f"{path} is no history of a training ({error}): delete it, or copy the whole one again."
        ) from None


def write_history(rows: list[dict[str, float]], path: pathlib.Path) -> None:
    """Writes history.csv."""
    with replacing(path) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **{key: f"{row[key]:.6g}" for key in COLUMNS[1:]}} for row in rows)


def best_epoch(rows: list[dict[str, float]]) -> dict[str, float]:
    """The row of the lowest validation loss, whose weights are kept; a loss that is no number is the worst."""
    return min(rows, key=lambda row: math.inf if math.isnan(row["val_loss"]) else row["val_loss"])
