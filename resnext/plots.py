"""Draws the figures of a model repository: learning curves, confusion matrix and sample images."""

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from resnext.atomic import replacing
from resnext.fonts import DEJAVU, columns, drawable
from resnext.results import (
    HISTORY_COLUMNS,
    CalibrationBin,
    CorruptionScore,
    Detection,
    best_epoch,
    calibration_error,
)

DPI = 150
MAX_NAMED_CLASSES = 200
MAX_SAMPLES = 25
# Among more classes most counts are 0, and would hide the others.
MAX_CLASSES_WITH_ZEROS = 5

INK = "#222222"
QUIET = "#6B6B6B"
RULE = "#DDDDDD"
# Paul Tol's dark blue and orange differ for every kind of color vision, and in brightness when printed in
# gray. His red differs from INK as well.
TRAINING = {"color": "#EE7733", "linewidth": 1.3, "label": "training"}
VALIDATION = {"color": "#004488", "linewidth": 1.8, "label": "validation"}
BLUES = ("#FFFFFF", "#C6DBEF", "#5B9BD0", "#004488", "#00264D")
MISTAKE = "#CC3311"
RATES = LinearSegmentedColormap.from_list("rates", BLUES).with_extremes(bad="#EEEEEE")
# Above this rate, RATES is darker than luminance 0.18, at which white and black text have the same contrast.
DARK_RATE = 0.36

NOTE = {"fontsize": 7, "color": QUIET}
TICKS = {"color": QUIET, "labelcolor": INK, "major.width": 0.7}
STYLE = {
    "font.family": [DEJAVU],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **{f"{axis}tick.{part}": value for axis in "xy" for part, value in TICKS.items()},
}


@matplotlib.rc_context(STYLE)
def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draws loss and accuracy by epoch, with the learning rate below, and marks the best epoch.

    Args:
        history: The rows of history.csv, at least one: `epoch` from 1, or from 0, which is a linear probe and
            has no learning rate, `loss`, `val_loss` and `learning_rate` from 0, `accuracy` and `val_accuracy`
            in [0, 1]. NaN leaves a gap.
    """
    if not history:
        raise ValueError("history is empty: train for at least one epoch to draw curves")
    best = best_epoch(history)
    if not np.isfinite(best["val_loss"]):
        best = None
    columns = {name: np.array([row[name] for row in history], dtype=float) for name in HISTORY_COLUMNS[:6]}
    epochs = columns["epoch"]

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, hspace=0.02, wspace=0.04)
    panels, strips = figure.subplots(2, 2, sharex=True, height_ratios=(5, 1))
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        _draw_metric(axes, columns, name, best)
    figure.legend(handles=panels[0].lines[:2], loc="outside upper center", ncols=2, frameon=False)
    panels[1].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")

    trained = epochs > 0
    for axes in strips:
        _draw_learning_rate(axes, epochs[trained], columns["learning_rate"][trained], best)
    strips[0].set_ylabel("learning\nrate")
    strips[0].xaxis.set_major_locator(MaxNLocator(8, steps=(1, 2, 5, 10), integer=True, min_n_ticks=1))
    margin = max(0.5 if len(epochs) < 3 else 0, 0.02 * np.ptp(epochs))
    strips[0].set_xlim(epochs.min() - margin, epochs.max() + margin)
    return figure


def _draw_metric(
    axes: Axes, columns: Mapping[str, np.ndarray], name: str, best: Mapping[str, float] | None
) -> None:
    """Draws "loss" or "accuracy" of both splits by epoch, with the values of the best epoch in the title."""
    _line(axes, columns["epoch"], columns[name], TRAINING)
    _line(axes, columns["epoch"], columns[f"val_{name}"], VALIDATION)
    axes.set_ylabel(name)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    if best is None:
        return
    epoch = best["epoch"]
    _mark_epoch(axes, epoch)
    style = {"markersize": 6, "color": VALIDATION["color"], "markerfacecolor": "white"}
    axes.plot(epoch, best[f"val_{name}"], "o", **style)
    as_text = "{:.3f}".format if name == "loss" else "{:.1%}".format
    values = f"validation {as_text(best[f'val_{name}'])}, training {as_text(best[name])}"
    axes.set_title(f"best epoch {epoch:.0f}: {values}", loc="left", fontsize=9)


def _draw_learning_rate(
    axes: Axes, epochs: np.ndarray, learning_rate: np.ndarray, best: Mapping[str, float] | None
) -> None:
    peak = np.max(learning_rate, initial=0, where=np.isfinite(learning_rate))
    _line(axes, epochs, learning_rate, {"color": QUIET, "linewidth": 1.2})
    if best is not None:
        _mark_epoch(axes, best["epoch"])
    axes.set_xlabel("epoch")
    axes.set_ylim(0, peak * 1.15 or 1)
    axes.set_yticks([0, peak] if peak else [0], ["0", f"{peak:.3g}"] if peak else ["0"])
    if len(epochs) == 1 and np.isfinite(learning_rate[0]):  # a point without a line is easily overlooked
        axes.annotate(f"{peak:.3g}", (epochs[0], peak), (7, 0), textcoords="offset points", va="center")


@matplotlib.rc_context(STYLE)
def corruptions(scores: Sequence[CorruptionScore]) -> Figure:
    """Draws the accuracy on worse images, a small panel for each way.

    Args:
        scores: The scores, of which the first is that of the images as they are.
    """
    clean, *rest = scores
    groups = [(name, list(group)) for name, group in itertools.groupby(rest, lambda score: score.name)]
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, (name, group) in itertools.zip_longest(panels, groups, fillvalue=("", [])):
        if not group:
            axes.set_axis_off()
            continue
        axes.axhline(clean.top1, color=QUIET, linewidth=0.8, linestyle="--")
        accuracies = [score.top1 for score in group]
        axes.plot(range(len(group)), accuracies, "o-", color=VALIDATION["color"], linewidth=1.8, markersize=4)
        axes.set_xticks(range(len(group)), [f"{score.level:g}" for score in group])
        axes.set(ylim=(0, 1), title=name)
        axes.set_xlabel(group[0].unit, fontsize=8, color=QUIET)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
    figure.suptitle(f"Top-1 accuracy on worse images (dashed: as they are, {clean.top1:.1%})", fontsize=10)
    return figure


@matplotlib.rc_context(STYLE)
def reliability(bins: Sequence[CalibrationBin], before: Sequence[CalibrationBin] = ()) -> Figure:
    """Draws the reliability diagram: accuracy over confidence (Guo et al., 2017, arXiv:1706.04599).

    Args:
        bins: The bins of the predictions, at least one. The area of a dot is proportional to its images.
        before: The bins before the network was calibrated; empty if it was not.
    """
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), "--", color=QUIET, linewidth=0.8)
    for values, style, title in (
        (before, TRAINING, "before calibration"),
        (bins, VALIDATION, "after calibration" if before else ""),
    ):
        if values:
            confidence, accuracy, images = zip(*values)
            label = f"{title}: " * bool(title) + f"calibration error {calibration_error(list(values)):.1%}"
            axes.plot(confidence, accuracy, **{**style, "label": label})
            sizes = [12 + 160 * count / sum(images) for count in images]
            axes.scatter(confidence, accuracy, sizes, style["color"], clip_on=False, zorder=3)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=RULE, linewidth=0.6)
    figure.legend(loc="outside upper center", frameon=False)
    return figure


@matplotlib.rc_context(STYLE)
def roc(detection: Detection) -> Figure:
    """Draws the ROC curve of the detector of photographs of none of the classes.

    Args:
        detection: Its test, with points of the curve.
    """
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), "--", color=QUIET, linewidth=0.8)
    axes.plot(*zip(*detection.roc), color=VALIDATION["color"], linewidth=1.8)
    refused = detection.refused or 0.0
    axes.scatter(1 - refused, detection.accepted, 40, VALIDATION["color"], clip_on=False, zorder=3)
    axes.annotate(
        f"{detection.accepted:.0%} accepted,\n{refused:.0%} of others refused",
        (1 - refused, detection.accepted),
        (10, -30),
        textcoords="offset points",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="other photographs accepted", ylabel="test images accepted")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=RULE, linewidth=0.6)
    figure.suptitle(f"Area under the ROC curve {detection.auroc:.3f}, {detection.images} others", fontsize=10)
    return figure


def _line(axes: Axes, epochs: np.ndarray, values: np.ndarray, style: dict) -> None:
    finite = np.pad(np.isfinite(values), 1)
    alone = np.flatnonzero(finite[1:-1] & ~finite[:-2] & ~finite[2:])  # between gaps, where there is no line
    if len(epochs) <= 12:
        style = style | {"marker": "o"}
    elif alone.size:
        style = style | {"marker": "o", "markevery": alone.tolist()}
    axes.plot(epochs, np.where(finite[1:-1], values, np.nan), markersize=4, **style)


def _mark_epoch(axes: Axes, epoch: float) -> None:
    axes.axvline(epoch, color=QUIET, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)


@matplotlib.rc_context(STYLE)
def confusion_matrix(counts: np.ndarray, labels: Sequence[str], top1: float | None = None) -> Figure:
    """Draws a confusion matrix. The color of a cell is its fraction of the true class, its text the count.

    The figure grows with the number of classes. Counts are written where they fit, those of 0 for up to
    `MAX_CLASSES_WITH_ZEROS` classes only. Up to `MAX_NAMED_CLASSES` classes are named, more are numbered. The
    color scale is a square root, so that rare confusions are visible. A true class without images is gray.

    Args:
        counts: (classes, classes) int from 0, rows: true, columns: predicted.
        labels: The names of the classes. They may hold any text, which is drawn literally and shortened, in
            installed fonts that have its characters. A note says how many characters none of them has.
        top1: The top-1 accuracy in [0, 1] for the title. Default: the fraction of images on the diagonal.
    """
    counts = np.asarray(counts)
    classes = len(labels)
    if classes == 0 or counts.shape != (classes, classes):
        raise ValueError(f"confusion matrix of shape {counts.shape} does not fit {classes} labels")
    support = counts.sum(axis=1, keepdims=True)
    rates = np.divide(counts, support, out=np.full(counts.shape, np.nan), where=support > 0)
    named = classes <= MAX_NAMED_CLASSES
    # Inches, chosen by eye: 1.3 for 2 classes, 0.95 for 5, 0.14 for 100; two pixels a cell for 1000 unnamed
    # classes.
    cell = np.clip(0.95 * (5 / classes) ** 0.65, 0.1, 1.3) if named else 2000 / DPI / classes
    side = cell * classes
    font_size = 10 * np.clip(side / 7, 1, 2)

    figure = Figure(figsize=(side, side))
    axes = figure.add_axes((0, 0, 1, 1))
    image = axes.imshow(rates, cmap=RATES, norm=PowerNorm(0.5, vmin=0, vmax=1))
    axes.spines[:].set_visible(not named)
    axes.set_xlabel("predicted", fontsize=font_size, labelpad=font_size / 2)
    axes.set_ylabel("true", fontsize=font_size, labelpad=font_size / 2)
    if named:
        _name_classes(axes, labels, cell)
        _write_counts(axes, counts, rates, cell)
    else:
        axes.tick_params(labelsize=0.8 * font_size)
    _add_color_bar(figure, axes, image, side, font_size)
    axes.set_title(_matrix_title(counts, top1), fontsize=font_size, pad=0.8 * font_size, loc="left")
    _grow_to_content(figure, axes, side)
    return figure


def _matrix_title(counts: np.ndarray, top1: float | None) -> str:
    images = int(counts.sum())
    if top1 is None and images:
        top1 = np.trace(counts) / images
    accuracy = "" if top1 is None else f"top-1 accuracy {top1:.1%}, "
    return f"{accuracy}{images:,} images"


def _add_color_bar(figure: Figure, axes: Axes, image: AxesImage, side: float, font_size: float) -> None:
    bar = axes.inset_axes((1 + 0.012 * font_size / side, 0, 0.014 * font_size / side, 1))
    ticks = [0, 0.01, 0.05, 0.25, 0.5, 1]
    color_bar = figure.colorbar(image, cax=bar, ticks=ticks, format=PercentFormatter(1, 0))
    color_bar.outline.set_visible(False)
    color_bar.set_label("fraction of the true class", fontsize=0.9 * font_size)
    bar.tick_params(labelsize=0.8 * font_size)


def _name_classes(axes: Axes, labels: Sequence[str], cell: float) -> None:
    drawn, fonts, note = drawable(labels, width=28)
    names = [drawn[label] for label in labels]
    font_size = min(10, 54 * cell)
    if max(map(columns, names)) * font_size * 0.65 < 72 * cell:
        rotation = {}
    elif len(names) <= 30:
        rotation = {"rotation": 45, "rotation_mode": "anchor", "ha": "right"}
    else:
        rotation = {"rotation": 90}
    style = {"fontsize": font_size, "fontfamily": fonts, "parse_math": False}
    axes.set_xticks(range(len(names)), names, **style, **rotation)
    axes.set_yticks(range(len(names)), names, **style)
    axes.tick_params(length=0)
    edges = np.arange(len(names) + 1) - 0.5
    axes.hlines(edges, *edges[[0, -1]], color=RULE, linewidth=min(0.8, cell))
    axes.vlines(edges, *edges[[0, -1]], color=RULE, linewidth=min(0.8, cell))
    if note:
        below = {"xycoords": ("axes fraction", axes.xaxis.label), "textcoords": "offset points", "va": "top"}
        axes.annotate(note, (0, 0), (0, -6), **below, **NOTE)


def _write_counts(axes: Axes, counts: np.ndarray, rates: np.ndarray, cell: float) -> None:
    """Writes the count into each cell, and the rate below it on the diagonal, where there is room."""
    font_size = min(12, 60 * cell / max(2, len(str(counts.max()))))
    if font_size < 5:
        return
    with_zeros = len(counts) <= MAX_CLASSES_WITH_ZEROS
    for row, column in zip(*np.nonzero(with_zeros | (counts > 0))):
        count, rate = counts[row, column], rates[row, column]
        dark = INK if count else "#8A8A8A"
        style = {"color": "white" if rate > DARK_RATE else dark, "ha": "center"}
        with_rate = row == column and cell > 0.45 and np.isfinite(rate)
        alignment = "bottom" if with_rate else "center_baseline"
        axes.text(column, row, str(count), va=alignment, fontsize=font_size, **style)
        if with_rate:
            axes.text(column, row + 0.06, f"{rate:.0%}", va="top", fontsize=0.75 * font_size, **style)


def _grow_to_content(figure: Figure, axes: Axes, side: float, margin: float = 0.12) -> None:
    """Resizes the figure to what its labels need. Its square axes stay `side` inches wide."""
    content = figure.get_tightbbox()
    left, bottom = (np.ceil((margin - start) * DPI) / DPI for start in (content.x0, content.y0))
    width, height = left + content.x1 + margin, bottom + content.y1 + margin
    figure.set_size_inches(width, height)
    axes.set_position((left / width, bottom / height, side / width, side / height))


@matplotlib.rc_context(STYLE)
def samples(
    images: Sequence[np.ndarray],
    names: Sequence[str],
    predictions: Sequence[tuple[str, float]] | None = None,
) -> Figure:
    """Draws up to `MAX_SAMPLES` images in a grid, each with its class below.

    A correct prediction adds its probability. A mistake adds a line with the predicted class and its
    probability, in the color of a frame around the image.

    Args:
        images: At least one image, each (height, width, 3) uint8 RGB, of any size.
        names: The true class of each image; two for a blended image, as "daisy + tulips". They may hold any
            text, which is drawn as in a confusion matrix.
        predictions: The predicted class of each image and its probability in [0, 1]. Default: names only.
    """
    if not len(images) or len(images) != len(names):
        raise ValueError(
            f"{len(images)} images with {len(names)} names: give at least one image, and one name each"
        )
    count = min(len(images), MAX_SAMPLES)
    captions, fonts, note = _captions(names[:count], predictions)
    wrong = [predictions is not None and predictions[index][0] != names[index] for index in range(count)]
    ncols = int(np.ceil(np.sqrt(count)))
    nrows = -(-count // ncols)
    lines = 1 + max(caption.count("\n") for caption in captions)
    height = (1.75 + 0.17 * lines) * nrows + 0.3 * any(wrong) + 0.3 * bool(note) + 0.1

    figure = Figure(figsize=(max(1.75 * ncols + 0.1, 2.4), height), layout="constrained")
    grid = figure.subplots(nrows, ncols, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, image, caption, mistake in zip(grid.flat, images, captions, wrong, strict=False):
        axes.imshow(image)
        label = axes.set_xlabel(caption, fontfamily=fonts, parse_math=False)
        label.set_fontsize(9 * min(1, 1.7 * figure.dpi / max(1, label.get_window_extent().width)))
        if mistake:
            axes.spines[:].set(visible=True, color=MISTAKE, linewidth=3)
            label.set_color(MISTAKE)
    if any(wrong):
        frame = Patch(facecolor="none", edgecolor=MISTAKE, linewidth=2, label="mistake: true → predicted")
        figure.legend(handles=[frame], loc="outside upper left", frameon=False, labelcolor=MISTAKE)
    if note:
        figure.supxlabel(note, x=0.01, ha="left", **NOTE)
    return figure


def _captions(
    names: Sequence[str], predictions: Sequence[tuple[str, float]] | None
) -> tuple[list[str], list[str], str]:
    """Writes a caption of one or two lines for each image, and passes on fonts and note of `drawable`."""
    if predictions is None:
        blends = [name.split(" + ", 1) for name in names]
        drawn, fonts, note = drawable(itertools.chain(*blends), width=22)
        return ["\n+ ".join(drawn[name] for name in blend) for blend in blends], fonts, note
    drawn, fonts, note = drawable([*names, *(predicted for predicted, _ in predictions)], width=22)
    captions = [
        f"{drawn[name]} {probability:.0%}"
        if name == predicted
        else f"{drawn[name]}\n→ {drawn[predicted]} {probability:.0%}"
        for name, (predicted, probability) in zip(names, predictions)
    ]
    return captions, fonts, note


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure as PNG with `DPI` dots per inch. If that fails, an older file at `path` is kept.

    Args:
        figure: The figure.
        path: The file to write.
    """
    with replacing(Path(path)) as unfinished, matplotlib.rc_context(STYLE):
        figure.savefig(unfinished, format="png", dpi=DPI)
