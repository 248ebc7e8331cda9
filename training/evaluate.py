"""`evaluate`: classifies the whole test set in float32, so that the results are the same on every machine."""

import dataclasses
import hashlib
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from resnext import plots
from resnext.classifier import Classifier
from resnext.errors import DataError, ImageError, printable
from resnext.metrics import measure
from resnext.preprocessing import load_pixels
from resnext.recipe_file import recorded_temperature
from resnext.repository import weights_digest
from resnext.results import (
    FIGURES,
    MAX_TESTED_CLASSES,
    Evaluation,
    ImagePrediction,
    Suspect,
    read_history,
    spread_over_classes,
)
from resnext.stream import infer_images

from .corruptions import measure_corruptions
from .data import ImageFolders
from .earlier import keep_earlier
from .mistakes import choose_mistakes, remove_thumbnails, save_thumbnails
from .ood import measure_detector
from .provenance import choose_test_images
from .suspects import find_suspects
from .tables import format_table

FIRST = 10  # predictions that are printed
MAX_LISTED_CLASSES = 30  # in the table of the classes
MAX_LISTED_SUSPECTS = 20


def evaluate(
    data: ImageFolders,
    classifier: Classifier,
    output: pathlib.Path,
    *,
    corruptions: bool = False,
    suspects: bool = False,
    unknown: Sequence[pathlib.Path] = (),
    pictures: bool = True,
    report: Callable[[str], object] = print,
) -> Evaluation:
    """Classifies every test image, and writes evaluation.json, the figures and thumbnails of the mistakes.

    What an earlier evaluation in `output` has measured beside the test is kept, if it was of the same weights
    and images.

    Args:
        data: The data set, with a split "test". Its classes and the model's are matched by name.
        classifier: The model, with precision "float32", of a repository.
        output: The folder for evaluation.json, figures/ and mistakes/.
        corruptions: Whether to measure the accuracy on worse images, too (`measure_corruptions`). That takes
            thirty times as long.
        unknown: Photographs of none of the classes, to test the detector of the model on, if it has one.
        suspects: Whether to look for images of all splits whose label is doubtful (`find_suspects`).
        pictures: Whether to write thumbnails and a figure of test images. Those of an earlier evaluation are
            removed in any case.
        report: Called with each line of progress.

    Returns:
        The evaluation.

    Raises:
        DataError: There is no test set, it has a class that the model does not have, the model has more than
            `MAX_TESTED_CLASSES` classes, or the history in `output` is invalid.
    """
    labels = classifier.config.label_names
    if len(labels) > MAX_TESTED_CLASSES:
        raise DataError(
            f"The model has {len(labels):,} classes, but a confusion matrix is limited to "
            f"{MAX_TESTED_CLASSES:,}: evaluate a model with fewer classes."
        )
    draw_curves(output)  # first, because it says so if the history is invalid
    folder = classifier.repository.folder
    whole = data
    data, overlap = choose_test_images(data, folder, report)
    true = true_classes(data, labels)
    test = data.splits["test"]
    names = [file.relative_to(data.root).as_posix() for file in test.files]
    logits = compute_logits(classifier, test.files)
    temperature = recorded_temperature(folder)
    before = measure(logits * temperature, true, labels, names).calibration if temperature != 1 else ()
    evaluation = dataclasses.replace(
        measure(logits, true, labels, names),
        weights_sha256=weights_digest(folder),
        images_sha256=images_digest(whole, data),
        overlap=overlap,
        uncalibrated=tuple(before),
        corruptions=measure_corruptions(classifier, test.files, true, report) if corruptions else (),
    )
    detection = measure_detector(classifier, test.files, unknown, report)
    evaluation = dataclasses.replace(evaluation, detection=detection)
    if suspects:
        doubtful = find_suspects(whole, classifier.config, report)
        evaluation = dataclasses.replace(evaluation, suspects=tuple(suspect for _, suspect in doubtful))
    images = {file.relative_to(whole.root).as_posix(): file for file in whole.merged().files}
    given = {"--corruptions": corruptions, "--suspects": suspects, "--unknown": bool(unknown)}
    options = [option for option, is_given in given.items() if is_given]
    evaluation = keep_earlier(evaluation, output, images, options, report)
    # A run that is killed leaves no figure beside the numbers of another evaluation, and no name of a
    # thumbnail that is missing or shows another image: figures go before evaluation.json is written and come
    # after it, and it is written without thumbnails first.
    figures = output / "figures"
    for name in FIGURES:
        (figures / name).unlink(missing_ok=True)
    evaluation.write(output)
    remove_thumbnails(output)
    if pictures:
        doubtful_files = [images[suspect.file] for suspect in evaluation.suspects or ()]
        evaluation = _with_thumbnails(evaluation, classifier, test.files, doubtful_files, output)
        evaluation.write(output)
        _draw_samples(classifier, test.files, evaluation.predictions, figures / "samples.png")
    matrix = plots.confusion_matrix(evaluation.confusion_matrix, labels, evaluation.top1)
    plots.save_figure(matrix, figures / "heatmap.png")
    reliability = plots.reliability(evaluation.calibration, evaluation.uncalibrated)
    plots.save_figure(reliability, figures / "reliability.png")
    if evaluation.detection and evaluation.detection.roc:
        plots.save_figure(plots.roc(evaluation.detection), figures / "ood.png")
    if evaluation.corruptions:
        plots.save_figure(plots.corruptions(evaluation.corruptions), figures / "corruptions.png")
    lines = [*first_predictions(evaluation), "", *class_table(evaluation), ""]
    if suspects and evaluation.suspects is not None:
        lines += [*suspect_table(evaluation.suspects, len(whole.merged())), ""]
    for line in lines:
        report(line)
    report(
        f"Top-1 accuracy {evaluation.top1:.4f}, top-5 accuracy {evaluation.top5:.4f}, "
        f"loss {evaluation.loss:.4f} on {len(test)} test images."
    )
    return evaluation


def images_digest(whole: ImageFolders, tested: ImageFolders) -> str:
    """SHA-256 of the content of a data set, and of which of its images were tested."""
    return hashlib.sha256(f"{whole.digest()} {tested.digest()}".encode()).hexdigest()


def draw_curves(folder: pathlib.Path) -> None:
    """Draws figures/curves.png of a model repository, if it has a history.

    Raises:
        DataError: The history is invalid.
    """
    history = read_history(folder)
    if history:
        plots.save_figure(plots.curves(history), folder / "figures" / "curves.png")


def class_table(evaluation: Evaluation) -> list[str]:
    """Formats the scores of the classes as the lines of a table; of many classes, the lowest F1."""
    rows = [row for row in evaluation.per_class if row.support]
    title = "class"
    if len(rows) > MAX_LISTED_CLASSES:
        rows = sorted(rows, key=lambda row: row.f1)[:MAX_LISTED_CLASSES]
        title = f"lowest {MAX_LISTED_CLASSES} classes"
    cells = [
        (printable(r.label), f"{r.precision:.3f}", f"{r.recall:.3f}", f"{r.f1:.3f}", f"{r.support}")
        for r in rows
    ]
    return format_table([(title, "precision", "recall", "F1", "images"), *cells], left=1)


def suspect_table(suspects: Sequence[Suspect], images: int) -> list[str]:
    """Formats the first suspects as the lines of a table, and how many there are among so many images."""
    rows = [
        (printable(row.file), printable(row.label), printable(row.likelier), f"{row.probability:.1%}")
        for row in suspects[:MAX_LISTED_SUSPECTS]
    ]
    count = f"{len(suspects)} of {images} images may have a wrong label"
    if not rows:
        return [f"{count}."]
    header = ("file", "label", "looks like", "probability of the label")
    return [*format_table([header, *rows], left=3), f"{count}: look at them, then move or remove them."]


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
    # Both forms of a name (Unicode's NFC and NFD) are one class. Of equal names, the first one counts.
    places = {unicodedata.normalize("NFC", name): index for index, name in reversed([*enumerate(labels)])}
    names = {name for name, count in zip(data.label_names, data.counts(split)) if count}
    unknown = sorted(names - set(places))
    if unknown:
        known = ", ".join(map(repr, labels[:20])) + f" and {len(labels) - 20} more" * (len(labels) > 20)
        raise DataError(
            f"{data.root} has a class {unknown[0]!r} that the model does not have: its classes are {known}."
        )
    return np.array([places[data.label_names[index]] for index in data.splits[split].labels])


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


def first_predictions(evaluation: Evaluation) -> list[str]:
    """Formats `FIRST` predictions as the lines of a table: the first ones of each true class, in turn.

    With more classes than `FIRST`, the classes are spread evenly over all of them.
    """
    rows = [
        (
            *map(printable, (row.file, row.true, row.predicted)),
            f"{row.probability:.1%}",
            "wrong" if row.true != row.predicted else "",
        )
        for row in spread_over_classes(evaluation.predictions, FIRST)
    ]
    rows.insert(0, ("file", "true", "predicted", "probability", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def _with_thumbnails(
    evaluation: Evaluation,
    classifier: Classifier,
    test_files: Sequence[pathlib.Path],
    suspect_files: Sequence[pathlib.Path],
    output: pathlib.Path,
) -> Evaluation:
    """Saves thumbnails of chosen mistakes and of all suspects, and names them in the evaluation."""
    predictions = list(evaluation.predictions)
    chosen = choose_mistakes(predictions)
    files = [*(test_files[index] for index in chosen), *suspect_files]
    names = save_thumbnails((load_pixels(file, classifier.config.preprocessing) for file in files), output)
    for index, name in zip(chosen, names):
        predictions[index] = predictions[index]._replace(thumbnail=name)
    suspects = evaluation.suspects and tuple(
        suspect._replace(thumbnail=name) for suspect, name in zip(evaluation.suspects, names[len(chosen) :])
    )
    return dataclasses.replace(evaluation, predictions=tuple(predictions), suspects=suspects)


def _draw_samples(
    classifier: Classifier,
    files: Sequence[pathlib.Path],
    predictions: Sequence[ImagePrediction],
    path: pathlib.Path,
) -> None:
    chosen = np.unique(np.linspace(0, len(files) - 1, plots.MAX_SAMPLES).round().astype(int))
    images = [load_pixels(files[index], classifier.config.preprocessing) for index in chosen]
    rows = [predictions[index] for index in chosen]
    figure = plots.samples(
        images, [row.true for row in rows], [(row.predicted, row.probability) for row in rows]
    )
    plots.save_figure(figure, path)
