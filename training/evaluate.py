"""`evaluate`: classifies the whole test set in float32, so that the results are the same on every machine."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from resnext.classifier import Classifier
from resnext.errors import DataError, ImageError, printable
from resnext.preprocessing import load_pixels
from resnext.results import ClassScores, Evaluation, ImagePrediction, read_history
from resnext.stream import infer_images

from . import plots
from .data import ImageFolders
from .mistakes import choose_mistakes, remove_thumbnails, save_thumbnails

FIRST = 10  # predictions that are printed
MAX_CLASSES = 4000  # evaluation.json reaches 100 MB there, because the confusion matrix grows with the square


def evaluate(
    data: ImageFolders,
    classifier: Classifier,
    output: pathlib.Path,
    *,
    report: Callable[[str], object] = print,
) -> Evaluation:
    """Classifies every test image, and writes evaluation.json, the figures and thumbnails of the mistakes.

    Args:
        data: The data set, with a split "test". Its classes and the model's are matched by name.
        classifier: The model, with precision "float32".
        output: The folder for evaluation.json, figures/ and mistakes/.
        report: Called with each line of progress.

    Returns:
        The evaluation.

    Raises:
        DataError: There is no test set, it has a class that the model does not have, the model has more than
            `MAX_CLASSES` classes, or the history in `output` is invalid.
    """
    labels = classifier.config.label_names
    if len(labels) > MAX_CLASSES:
        raise DataError(
            f"The model has {len(labels):,} classes, but a confusion matrix is limited to {MAX_CLASSES:,}: "
            f"evaluate a model with fewer classes."
        )
    history = read_history(output)
    true = true_classes(data, labels)
    test = data.splits["test"]
    names = [file.relative_to(data.root).as_posix() for file in test.files]
    evaluation = measure(compute_logits(classifier, test.files), true, labels, names)
    # Written without thumbnails first: a run that is killed while the thumbnails change names none that is
    # missing or shows another image.
    evaluation.write(output)
    remove_thumbnails(output)
    evaluation = _with_thumbnails(evaluation, classifier, test.files, output)
    evaluation.write(output)

    figures = output / "figures"
    matrix = plots.confusion_matrix(evaluation.confusion_matrix, labels, evaluation.top1)
    plots.save_figure(matrix, figures / "heatmap.png")
    if history:
        plots.save_figure(plots.curves(history), figures / "curves.png")
    _draw_samples(classifier, test.files, evaluation.predictions, figures / "samples.png")
    for line in first_predictions(evaluation):
        report(line)
    report(
        f"Top-1 accuracy {evaluation.top1:.4f}, top-5 accuracy {evaluation.top5:.4f}, "
        f"loss {evaluation.loss:.4f} on {len(test)} test images."
    )
    return evaluation


def true_classes(data: ImageFolders, labels: tuple[str, ...], split: str = "test") -> np.ndarray:
    """Finds the classes of a split's images among those of a model, by name.

    Args:
        data: The data set.
        labels: The names of the model's classes.
        split: The split: "test" or "val".

    Returns:
        (images,) int, indices into `labels`.

    Raises:
        DataError: There is no such split, or it has a class that the model does not have.
    """
    if split not in data.splits:
        raise DataError(f"{data.root} has no {split} folder: make one, with the same class folders as train.")
    unknown = sorted(set(data.label_names) - set(labels))
    if unknown:
        known = ", ".join(map(repr, labels[:20])) + f" and {len(labels) - 20} more" * (len(labels) > 20)
        raise DataError(
            f"{data.root} has a class {unknown[0]!r} that the model does not have: its classes are {known}."
        )
    return np.array([labels.index(data.label_names[index]) for index in data.splits[split].labels])


def compute_logits(classifier: Classifier, files: Iterable[pathlib.Path]) -> np.ndarray:
    """Classifies image files.

    Args:
        classifier: The model.
        files: The image files.

    Returns:
        (images, classes) float32 logits.

    Raises:
        ImageError: A file cannot be read as an image.
    """
    logits = []
    for _, output in infer_images(classifier, files):
        if isinstance(output, ImageError):
            raise output
        logits.append(output.logits)
    return np.stack(logits)


def measure(logits: np.ndarray, true: np.ndarray, labels: Sequence[str], files: Sequence[str]) -> Evaluation:
    """Computes all metrics of an evaluation.

    Args:
        logits: (images, classes) float.
        true: (images,) int, the true classes.
        labels: The names of the classes.
        files: The names of the images.
    """
    images, classes = logits.shape
    predicted = _ranking(logits)[:, 0]
    probabilities = np.exp(_log_softmax(logits)[np.arange(images), predicted])
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (true, predicted), 1)
    predictions = tuple(
        ImagePrediction(file, labels[t], labels[p], round(float(probability), 6))
        for file, t, p, probability in zip(files, true, predicted, probabilities)
    )
    per_class = tuple(_class_scores(matrix, index, label) for index, label in enumerate(labels))
    return Evaluation(tuple(labels), matrix, per_class, predictions, samples=images, **scores(logits, true))


def scores(logits: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Computes accuracy and loss.

    Args:
        logits: (images, classes) float.
        true: (images,) int, the true classes.

    Returns:
        "top1" and "top5", accuracies in [0, 1], and "loss", the mean cross-entropy.
    """
    correct = _ranking(logits) == true[:, None]
    loss = -_log_softmax(logits)[np.arange(len(true)), true].mean()
    return {
        "top1": float(correct[:, 0].mean()),
        "top5": float(correct[:, :5].any(axis=1).mean()),
        "loss": float(loss),
    }


def first_predictions(evaluation: Evaluation) -> list[str]:
    """Formats the first `FIRST` predictions of an evaluation as the lines of a table."""
    rows = [
        (
            *map(printable, (row.file, row.true, row.predicted)),
            f"{row.probability:.1%}",
            "wrong" if row.true != row.predicted else "",
        )
        for row in evaluation.predictions[:FIRST]
    ]
    rows.insert(0, ("file", "true", "predicted", "probability", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _ranking(logits: np.ndarray) -> np.ndarray:
    # Of equal logits, the first class comes first, as in `Classifier.top`.
    return np.argsort(-logits, axis=1, kind="stable")


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _class_scores(matrix: np.ndarray, index: int, label: str) -> ClassScores:
    correct = matrix[index, index]
    support = matrix[index].sum()
    predicted = matrix[:, index].sum()
    # A score is 0 where its denominator is 0, as in scikit-learn.
    return ClassScores(
        label,
        precision=float(correct / max(predicted, 1)),
        recall=float(correct / max(support, 1)),
        f1=float(2 * correct / max(predicted + support, 1)),
        support=int(support),
    )


def _with_thumbnails(
    evaluation: Evaluation, classifier: Classifier, files: Sequence[pathlib.Path], output: pathlib.Path
) -> Evaluation:
    """Saves thumbnails of chosen mistakes, and names them in the predictions."""
    predictions = list(evaluation.predictions)
    chosen = choose_mistakes(predictions)
    images = (load_pixels(files[index], classifier.config.preprocessing) for index in chosen)
    for index, name in zip(chosen, save_thumbnails(images, output), strict=True):
        predictions[index] = predictions[index]._replace(thumbnail=name)
    return dataclasses.replace(evaluation, predictions=tuple(predictions))


def _draw_samples(
    classifier: Classifier,
    files: Sequence[pathlib.Path],
    predictions: Sequence[ImagePrediction],
    path: pathlib.Path,
) -> None:
    chosen = np.unique(np.linspace(0, len(files) - 1, plots.MAX_SAMPLES).round().astype(int))
    images = [load_pixels(files[index], classifier.config.preprocessing) for index in chosen]
    titles = [_sample_title(predictions[index]) for index in chosen]
    plots.save_figure(plots.samples(images, titles), path)


def _sample_title(row: ImagePrediction) -> str:
    if row.true == row.predicted:
        return f"{row.true} {row.probability:.0%}"
    return f"{row.true} → {row.predicted}"
