"""The results of a run, history.csv and evaluation.json: read, checked and written in one place."""

import csv
import dataclasses
import itertools
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resnext.atomic import replacing, write_atomically
from resnext.errors import DataError, file_name, file_step
from resnext.repository import is_of_other_weights

HISTORY = "history.csv"
EVALUATION = "evaluation.json"
# The figures of an evaluation, in figures/. The others there are of the training.
FIGURES = ("samples.png", "heatmap.png", "reliability.png", "ood.png", "corruptions.png")
# evaluation.json reaches 100 MB there, because the confusion matrix grows with the square.
MAX_TESTED_CLASSES = 4000
_DIGITS = ".6g"  # of the values in history.csv
HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
# Limits in bytes. Parsed, JSON and CSV take up to forty times as much memory; an evaluation on ImageNet has
# 15 MB.
MAX_BYTES = {HISTORY: 2**20, EVALUATION: 24 * 2**20}
# What reading or parsing a file of unknown origin may raise.
READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    csv.Error,
)


class ClassScores(NamedTuple):
    """Precision, recall and F1 of one class, each in [0, 1], and the number of its test images."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


class ImagePrediction(NamedTuple):
    """The prediction for one test image.

    Args:
        file: The name of the image.
        true: The name of the true class.
        predicted: The name of the predicted class.
        probability: The probability of the predicted class, in [0, 1].
        thumbnail: The file name of a small picture in the repository, or None. It is not trusted when read.
    """

    file: str
    true: str
    predicted: str
    probability: float
    thumbnail: Any = None


class CalibrationBin(NamedTuple):
    """The test images whose probability lies in one interval.

    Args:
        confidence: Their mean probability, in [0, 1].
        accuracy: The fraction of them that was classified correctly, in [0, 1].
        images: The number of these images.
    """

    confidence: float
    accuracy: float
    images: int


class CorruptionScore(NamedTuple):
    """The accuracy on test images that were made worse.

    Args:
        name: In what way: "blur", "noise", ...; "none" for the images as they are.
        unit: What the level is: "quality", "brightness", ...
        level: How much.
        top1: The top-1 accuracy in [0, 1].
    """

    name: str
    unit: str
    level: float
    top1: float


class Suspect(NamedTuple):
    """An image whose label is doubtful.

    Args:
        file: The name of the image.
        label: The name of the class that it is in.
        likelier: The name of the class that it looks like.
        probability: The probability of its label, in [0, 1].
        thumbnail: The file name of a small picture in the repository, or None. It is not trusted when read.
    """

    file: str
    label: str
    likelier: str
    probability: float
    thumbnail: Any = None


class Detection(NamedTuple):
    """The test of the detector of photographs that show none of the classes.

    Args:
        accepted: The fraction of the test images that look like one of the classes to it, in [0, 1].
        images: The number of photographs of none of the classes that it was tested on; 0 if there were none.
        refused: The fraction of these that look like none of the classes to it, or None.
        auroc: The area under the ROC curve, in [0, 1], or None.
        roc: Points of the ROC curve: fractions of the photographs of none of the classes, and of the test
            images, that are accepted at the same threshold.
    """

    accepted: float
    images: int = 0
    refused: float | None = None
    auroc: float | None = None
    roc: tuple[tuple[float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The test of a network, as evaluation.json holds it.

    Args:
        classes: The names of the classes.
        confusion_matrix: `(classes, classes)` int64. Rows are true classes, columns are predicted classes.
        per_class: The scores of each class.
        predictions: The prediction for each test image.
        top1: The top-1 accuracy in [0, 1], or None if the file does not say.
        top5: The top-5 accuracy in [0, 1], or None if the file does not say.
        loss: The mean cross-entropy, or None if the file does not say.
        samples: The number of test images, or None if the file does not say.
        dtype: The dtype that the network computed in.
        weights_sha256: The SHA-256 of the weights that were tested, or None if the file does not say.
        images_sha256: The SHA-256 of the images of the data set, or None if the file does not say.
        overlap: The number of test images that were also used to train or to choose the weights, by their
            content, or None if that was not checked.
        uncalibrated: The calibration as it was before the classifier was scaled by a temperature; empty if it
            was not.
        corruptions: The accuracies on worse images; empty if they were not measured.
        suspects: The images of the whole data set whose label is doubtful, the most doubtful first; None if
            they were not looked for.
        detection: The test of the detector of photographs of none of the classes; None if there is none.
        method: "leave-one-out" or "5-fold cross-validation", if these are the training images, each of which
            was classified by a classifier that was fitted without it; None for a test set.
    """

    classes: tuple[str, ...]
    confusion_matrix: np.ndarray
    per_class: tuple[ClassScores, ...]
    predictions: tuple[ImagePrediction, ...]
    top1: float | None = None
    top5: float | None = None
    loss: float | None = None
    samples: int | None = None
    dtype: str = "float32"
    weights_sha256: str | None = None
    images_sha256: str | None = None
    overlap: int | None = None
    uncalibrated: tuple[CalibrationBin, ...] = ()
    corruptions: tuple[CorruptionScore, ...] = ()
    suspects: tuple[Suspect, ...] | None = None
    detection: Detection | None = None
    method: str | None = None

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Parses the text of evaluation.json, which may be of any origin.

        Raises:
            One of `READ_ERRORS`: The text is not valid, or its parts do not fit together.
        """
        values = parse_json(text)
        classes = tuple(str(label) for label in values["classes"])
        matrix = np.array(values["confusion_matrix"], np.int64)
        if not classes or matrix.shape != (len(classes), len(classes)) or matrix.min() < 0:
            raise ValueError(f"its confusion matrix does not fit {len(classes)} classes")
        per_class = tuple(
            ClassScores(
                str(row["label"]),
                float(row["precision"]),
                float(row["recall"]),
                float(row["f1"]),
                int(row["support"]),
            )
            for row in values["per_class"]
        )
        predictions = tuple(
            ImagePrediction(
                str(row["file"]),
                str(row["true"]),
                str(row["predicted"]),
                float(row["probability"]),
                row.get("thumbnail"),
            )
            for row in values["predictions"]
        )
        suspects = values.get("suspects")
        if suspects is not None:
            suspects = tuple(
                Suspect(
                    str(row["file"]),
                    str(row["label"]),
                    str(row["likelier"]),
                    float(row["probability"]),
                    row.get("thumbnail"),
                )
                for row in suspects
            )
        detection = values.get("detection")
        if detection is not None:
            detection = Detection(
                float(detection["accepted"]),
                int(detection.get("images", 0)),
                _optional_float(detection, "refused"),
                _optional_float(detection, "auroc"),
                tuple((float(x), float(y)) for x, y in detection.get("roc", ())),
            )
        if not all(0 <= row.probability <= 1 for row in (*predictions, *(suspects or ()))):
            raise ValueError("a probability is not between 0 and 1")
        return cls(
            classes,
            matrix,
            per_class,
            predictions,
            top1=_optional_float(values, "top1"),
            top5=_optional_float(values, "top5"),
            loss=_optional_float(values, "loss"),
            samples=_optional_int(values, "samples"),
            dtype=str(values.get("dtype", "float32")),
            weights_sha256=_optional_str(values, "weights_sha256"),
            images_sha256=_optional_str(values, "images_sha256"),
            overlap=_optional_int(values, "overlap"),
            uncalibrated=tuple(
                CalibrationBin(float(confidence), float(accuracy), int(images))
                for confidence, accuracy, images in values.get("uncalibrated", ())
            ),
            corruptions=tuple(
                CorruptionScore(str(row["name"]), str(row["unit"]), float(row["level"]), float(row["top1"]))
                for row in values.get("corruptions", ())
            ),
            suspects=suspects,
            detection=detection,
            method=_optional_str(values, "method"),
        )

    def to_json(self) -> str:
        """The text of evaluation.json."""
        suspects = None if self.suspects is None else _without_empty(self.suspects)
        values = {
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "samples": self.samples,
            "dtype": self.dtype,
            **({} if self.method is None else {"method": self.method}),
            **({} if self.weights_sha256 is None else {"weights_sha256": self.weights_sha256}),
            **({} if self.images_sha256 is None else {"images_sha256": self.images_sha256}),
            **({} if self.overlap is None else {"overlap": self.overlap}),
            **({"uncalibrated": self.uncalibrated} if self.uncalibrated else {}),
            **({"corruptions": [row._asdict() for row in self.corruptions]} if self.corruptions else {}),
            **({} if self.detection is None else {"detection": self.detection._asdict()}),
            "classes": list(self.classes),
            "confusion_matrix": self.confusion_matrix.tolist(),
            "per_class": [row._asdict() for row in self.per_class],
            "predictions": _without_empty(self.predictions),
            **({} if suspects is None else {"suspects": suspects}),
        }
        lines = ",\n".join(f" {json.dumps(key)}: {_json_lines(value)}" for key, value in values.items())
        return f"{{\n{lines}\n}}\n"

    def write(self, folder: pathlib.Path) -> None:
        """Writes evaluation.json into a model repository."""
        write_atomically(folder / EVALUATION, self.to_json())

    def is_stale(self, folder: pathlib.Path) -> bool:
        """Whether other weights than those of a model repository were tested."""
        return is_of_other_weights(folder, self.weights_sha256)

    @property
    def calibration(self) -> list[CalibrationBin]:
        """The predictions in ten intervals of probability of equal width, empty ones left out."""
        return calibration_bins(self.predictions)


def _json_lines(value: Any) -> str:
    """A value as JSON, with a line for each row of a table."""
    if not isinstance(value, (list, tuple)) or not value or isinstance(value[0], str):
        return json.dumps(value)
    return "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"


def _without_empty(rows: Sequence[ImagePrediction | Suspect]) -> list[dict[str, Any]]:
    """The rows as dicts, without the thumbnails that they do not have."""
    return [{key: value for key, value in row._asdict().items() if value is not None} for row in rows]


def _optional_str(values: dict, key: str) -> str | None:
    return None if values.get(key) is None else str(values[key])


def _optional_int(values: dict, key: str) -> int | None:
    return None if values.get(key) is None else int(values[key])


def _optional_float(values: dict, key: str) -> float | None:
    return None if values.get(key) is None else float(values[key])


def read_evaluation(folder: pathlib.Path, max_bytes: int | None = None) -> Evaluation | None:
    """Reads evaluation.json of a model repository. Returns None if it has none.

    Args:
        folder: The model repository.
        max_bytes: The limit of the file's size. Defaults to the limit of `MAX_BYTES`.

    Raises:
        DataError: The file is not a valid evaluation.
    """
    path = folder / EVALUATION
    if not path.exists():
        return None
    try:
        return Evaluation.from_json(read_text(path, max_bytes))
    except READ_ERRORS as error:
        step = file_step(path, "run `resnext evaluate` again, or delete it")
        raise DataError(f"{file_name(path)} is not a valid evaluation ({error}): {step}.") from None


def spread_over_classes(predictions: Sequence[ImagePrediction], count: int) -> list[ImagePrediction]:
    """Chooses predictions from as many true classes as possible, in their order.

    Args:
        predictions: The predictions of a test.
        count: The largest number to choose.
    """
    by_class: dict[str, list[int]] = {}
    for index, row in enumerate(predictions):
        by_class.setdefault(row.true, []).append(index)
    classes = np.unique(np.linspace(0, len(by_class) - 1, count).round().astype(int))
    turns = itertools.zip_longest(*(list(by_class.values())[index] for index in classes))
    chosen = [index for turn in turns for index in turn if index is not None][:count]
    return [predictions[index] for index in sorted(chosen)]


def calibration_bins(predictions: tuple[ImagePrediction, ...], bins: int = 10) -> list[CalibrationBin]:
    """Groups predictions into equal intervals of probability (Guo et al., 2017, arXiv:1706.04599)."""
    probability = np.array([row[3] for row in predictions], float)
    correct = np.array([row[1] == row[2] for row in predictions], float)
    places = np.minimum((probability * bins).astype(int), bins - 1)
    inside = (places == index for index in range(bins))
    return [
        CalibrationBin(float(probability[b].mean()), float(correct[b].mean()), int(b.sum()))
        for b in inside
        if b.any()
    ]


def calibration_error(bins: Sequence[CalibrationBin]) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, weighted by images."""
    gaps = sum(abs(confidence - accuracy) * images for confidence, accuracy, images in bins)
    return gaps / sum(images for *_, images in bins)


def calibration_bias(bins: Sequence[CalibrationBin]) -> float:
    """Mean of accuracy minus confidence: above 0 if under-confident, below 0 if over-confident."""
    gaps = sum((accuracy - confidence) * images for confidence, accuracy, images in bins)
    return gaps / sum(images for *_, images in bins)


def parse_history(text: str) -> list[dict[str, float]]:
    """Parses the text of history.csv, which may be of any origin.

    Returns:
        A row for each epoch, a dict of numbers by column. `seconds` is NaN if the file has no such column.

    Raises:
        One of `READ_ERRORS`: A column is missing, or a value is not a number.
    """
    rows = []
    for row in csv.DictReader(text.splitlines()):
        row.setdefault("seconds", "nan")
        numbers = {key: float(row[key]) for key in HISTORY_COLUMNS}
        rows.append({**numbers, "epoch": int(numbers["epoch"])})
    return rows


def read_history(folder: pathlib.Path) -> list[dict[str, float]]:
    """Reads history.csv of a model repository. Returns an empty list if it has none.

    Raises:
        DataError: The file is not a valid history.
    """
    path = folder / HISTORY
    if not path.exists():
        return []
    try:
        return parse_history(read_text(path))
    except READ_ERRORS as error:
        step = file_step(path, "restore it from a copy, or delete it")
        raise DataError(f"{file_name(path)} is not a valid training history ({error}): {step}.") from None


def write_history(rows: list[dict[str, float]], folder: pathlib.Path) -> None:
    """Writes history.csv into a model repository."""
    with replacing(folder / HISTORY) as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {**row, **{key: format(row[key], _DIGITS) for key in HISTORY_COLUMNS[1:]}} for row in rows
        )


def best_epoch(rows: list[dict[str, float]]) -> dict[str, float]:
    """The row with the lowest validation loss, whose weights are kept; NaN counts as infinite.

    Fine-tuning has an epoch 0, the linear probe that it starts from: epochs that classify fewer validation
    images correctly are left out. The probe's loss is not compared, because label smoothing and blended
    labels raise the others' until the network is calibrated.
    """
    if rows[0]["epoch"] == 0:
        start = rows[0]
        least = recorded(start["val_accuracy"])
        rows = [row for row in rows[1:] if recorded(row["val_accuracy"]) >= least] or [start]
    return min(rows, key=lambda row: math.inf if math.isnan(row["val_loss"]) else recorded(row["val_loss"]))


def recorded(value: float) -> float:
    """A value of the history as history.csv has it.

    Epochs are compared by it: two that differ by less would not be the same for who reads the file.
    """
    return float(format(value, _DIGITS))


def read_text(path: pathlib.Path, max_bytes: int | None = None) -> str:
    """Reads a UTF-8 file of unknown origin.

    Args:
        path: The file.
        max_bytes: The limit of its size. Defaults to the limit of `MAX_BYTES` for its name.

    Raises:
        OSError: The file cannot be read, or is not a regular file (opening a pipe would block forever).
        ValueError: The file is too large or not UTF-8.
    """
    limit = max_bytes or MAX_BYTES[path.name]
    if not os.path.isfile(path):
        raise OSError("it is not a regular file")
    if path.stat().st_size > limit:
        raise ValueError(f"it is larger than {limit >> 20} MiB")
    return path.read_text("utf-8")


def parse_json(text: str) -> Any:
    """Parses JSON of unknown origin, and refuses text that cannot be encoded again (lone surrogates)."""
    values = json.loads(text)
    json.dumps(values, ensure_ascii=False).encode()
    return values
