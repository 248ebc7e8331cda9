"""`evaluate`: the whole test set through the serving path, in float32, so that it is the same on every machine."""

import json
import pathlib
from collections.abc import Iterable

import numpy as np

from resnext.atomic import write_atomically
from resnext.classifier import Classifier
from resnext.errors import DataError, ImageError, printable
from resnext.preprocessing import open_image, preprocess
from resnext.stream import infer_images

from . import plots
from .data import ImageFolders
from .history import read_history
from .mistakes import choose_mistakes, remove_pictures, save_pictures

FIRST = 10  # predictions printed as a table
SAMPLES = 25  # photographs in samples.png
MAX_CLASSES = 4000  # a matrix of all pairs takes 100 MB of evaluation.json by then


def evaluate(data: ImageFolders, classifier: Classifier, output: pathlib.Path, *, report=print) -> dict:
    """Classifies every test image and writes evaluation.json, the figures and small pictures of the mistakes.

    Args:
        data: with "test"; class names are matched with the classifier's by name.
        classifier: made with precision "float32".
        output: folder for evaluation.json, figures/ and mistakes/.
        report: takes a line of text.

    Returns:
        What evaluation.json holds.

    Raises:
        DataError: there is no test set, it has a class that the classifier does not know, or the classifier knows more than
            4,000; or the history in `output` is broken.
    """
    labels = classifier.config.label_names
    if len(labels) > MAX_CLASSES:
        raise DataError(
            f"The model has {len(labels):,} classes, and a matrix of all pairs is made for {MAX_CLASSES:,} at most: test a model of fewer."
        )
    history = read_history(output / "history.csv")
    true = true_classes(data, labels)
    test = data.splits["test"]
    logits = logits_of(classifier, test.files)
    files = [file.relative_to(data.root).as_posix() for file in test.files]
    result = measure(logits, true, labels, files)
    _write(
        result, output
    )  # names no pictures, so that a run killed from here on leaves none misnamed or missing
    remove_pictures(output)
    chosen = choose_mistakes(result["predictions"])
    names = save_pictures((pixels_of(classifier, test.files[place]) for place in chosen), output)
    for place, name in zip(chosen, names, strict=True):
        result["predictions"][place]["thumbnail"] = name
    _write(result, output)

    top1 = result["top1"]
    plots.save_figure(
        plots.heatmap(np.array(result["confusion_matrix"]), labels, top1),
        output / "figures" / "heatmap.png",
    )
    if history:
        plots.save_figure(plots.curves(history), output / "figures" / "curves.png")
    _draw_samples(classifier, test.files, result["predictions"], output / "figures" / "samples.png")
    for line in first_predictions(result):
        report(line)
    report(
        f"Top-1 {top1:.4f}, top-5 {result['top5']:.4f}, loss {result['loss']:.4f} on {len(test)} test images."
    )
    return result


def true_classes(data: ImageFolders, labels: tuple[str, ...]) -> np.ndarray:
    """The test images' classes: (images,) int, indices into a model's labels.

    Raises:
        DataError: there is no test set, or it has a class that is not among the labels.
    """
    if "test" not in data.splits:
        raise DataError(f"{data.root} has no test folder: make one, with the same class folders as train.")
    unknown = sorted(set(data.label_names) - set(labels))
    if unknown:
        known = ", ".join(map(repr, labels[:20])) + f" and {len(labels) - 20} more" * (len(labels) > 20)
        raise DataError(
            f"{data.root} has a class {unknown[0]!r} that the model does not know: it knows {known}."
        )
    return np.array([labels.index(data.label_names[index]) for index in data.splits["test"].labels])


def logits_of(classifier: Classifier, files: Iterable[pathlib.Path]) -> np.ndarray:
    """(images, classes) float32 logits of image files.

    Raises:
        ImageError: one of them is no image.
    """
    logits = []
    for _, answer in infer_images(classifier, files):
        if isinstance(answer, ImageError):
            raise answer
        logits.append(answer.logits)
    return np.stack(logits)


def pixels_of(classifier: Classifier, file: pathlib.Path) -> np.ndarray:
    """What the network sees of an image file: (size, size, 3) uint8 RGB."""
    prep = classifier.config.preprocessing
    return preprocess(open_image(file, prep.resize_to), prep)


def measure(logits: np.ndarray, true: np.ndarray, labels: tuple[str, ...], files: list[str]) -> dict:
    """Everything that evaluation.json says.

    Args:
        logits: (images, classes) float.
        true: (images,) int, the true classes.
        labels: names of the classes.
        files: names of the images.
    """
    images, classes = logits.shape
    predicted, log_probabilities = _order(logits)[:, 0], _log_softmax(logits)
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (true, predicted), 1)
    return {
        **scores(logits, true),
        "samples": images,
        "dtype": "float32",
        "classes": list(labels),
        "confusion_matrix": matrix.tolist(),
        "per_class": [_class_scores(matrix, index, label) for index, label in enumerate(labels)],
        "predictions": [
            {
                "file": file,
                "true": labels[t],
                "predicted": labels[p],
                "probability": round(float(np.exp(log_probabilities[row, p])), 6),
            }
            for row, (file, t, p) in enumerate(zip(files, true, predicted))
        ],
    }


def scores(logits: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Of logits (images, classes) and true classes (images,): top-1 and top-5 accuracy in [0, 1], mean cross-entropy."""
    right = _order(logits) == true[:, None]
    loss = -_log_softmax(logits)[np.arange(len(true)), true].mean()
    return {
        "top1": float(right[:, 0].mean()),
        "top5": float(right[:, :5].any(axis=1).mean()),
        "loss": float(loss),
    }


def _order(logits):
    return np.argsort(-logits, axis=1, kind="stable")  # of equal ones, the first, as `Classifier.top` has it


def _log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def first_predictions(result: dict) -> list[str]:
    """The first ten predictions of an evaluation, as the lines of a table."""
    rows = [
        (
            *(printable(row[key]) for key in ("file", "true", "predicted")),
            f"{row['probability']:.1%}",
            "wrong" * (row["true"] != row["predicted"]),
        )
        for row in result["predictions"][:FIRST]
    ]
    rows.insert(0, ("file", "true", "predicted", "probability", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _class_scores(matrix, index, label) -> dict:
    right, support, named = matrix[index, index], matrix[index].sum(), matrix[:, index].sum()
    # 0 where there is nothing to divide by, as scikit-learn has it
    return {
        "label": label,
        "precision": float(right / max(named, 1)),
        "recall": float(right / max(support, 1)),
        "f1": float(2 * right / max(named + support, 1)),
        "support": int(support),
    }


def _write(result, output):
    write_atomically(output / "evaluation.json", json.dumps(result, indent=1) + "\n")


def _draw_samples(classifier, files, predictions, path):
    chosen = np.unique(np.linspace(0, len(files) - 1, SAMPLES).round().astype(int))
    images = [pixels_of(classifier, files[index]) for index in chosen]
    titles = []
    for row in (predictions[index] for index in chosen):
        right = row["true"] == row["predicted"]
        titles.append(
            f"{row['true']} {row['probability']:.0%}" if right else f"{row['true']} → {row['predicted']}"
        )
    plots.save_figure(plots.samples(images, titles), path)
