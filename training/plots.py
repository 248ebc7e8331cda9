"""Draws what a training run leaves to look at: learning curves, confusion heatmap, sample images."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from unicodedata import east_asian_width

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import MaxNLocator, PercentFormatter

from resnext.atomic import replacing

DPI = 150
MAX_NAMED_CLASSES = 200
MAX_SAMPLES = 25

INK, QUIET, RULE = "#222222", "#6B6B6B", "#DDDDDD"
# Paul Tol's dark blue and orange: apart for every kind of colour vision, and light against dark in grey print.
TRAINING = {"color": "#EE7733", "linewidth": 1.3, "label": "training"}
VALIDATION = {"color": "#004488", "linewidth": 1.8, "label": "validation"}
BLUES = ("#FFFFFF", "#C6DBEF", "#5B9BD0", "#004488", "#00264D")
RATES = LinearSegmentedColormap.from_list("rates", BLUES).with_extremes(bad="#EEEEEE")
DARK_RATE = (
    0.36  # where RATES falls below the luminance 0.18, on which white and black text have the same contrast
)

# DejaVu comes with Matplotlib; the others, where installed, lend the glyphs that it lacks.
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Microsoft YaHei",
    "Hiragino Sans",
    "Arial Unicode MS",
)
TICKS = {"color": QUIET, "labelcolor": INK, "major.width": 0.7}
STYLE = {
    "font.family": [
        "DejaVu Sans",
        *(font for font in FALLBACK_FONTS if font in fontManager.get_font_names()),
    ],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    **{f"{axis}tick.{part}": value for axis in "xy" for part, value in TICKS.items()},
}


@matplotlib.rc_context(STYLE)
def curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and accuracy by epoch, the learning rate beneath, the epoch of the lowest validation loss marked.

    Args:
        history: the rows of history.csv, one an epoch, at least one: `epoch` from 1, `loss`, `val_loss` and
            `learning_rate` from 0, `accuracy` and `val_accuracy` in [0, 1]. A NaN leaves a gap.
    """
    if not history:
        raise ValueError("history is empty: train for at least one epoch to draw curves")
    names = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    column = {name: np.array([row[name] for row in history], dtype=float) for name in names}
    epochs, val_loss, learning_rate = column["epoch"], column["val_loss"], column["learning_rate"]
    finite = np.isfinite(val_loss)
    best = int(np.argmin(np.where(finite, val_loss, np.inf))) if finite.any() else None

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, hspace=0.02, wspace=0.04)
    panels, strips = figure.subplots(2, 2, sharex=True, height_ratios=(5, 1))
    for axes, name in zip(panels, ("loss", "accuracy"), strict=True):
        as_text = "{:.3f}".format if name == "loss" else "{:.1%}".format
        _line(axes, epochs, column[name], TRAINING)
        _line(axes, epochs, column[f"val_{name}"], VALIDATION)
        axes.set_ylabel(name)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        if best is not None:
            train, validation = column[name][best], column[f"val_{name}"][best]
            _rule(axes, epochs[best])
            axes.plot(
                epochs[best],
                validation,
                "o",
                markersize=6,
                color=VALIDATION["color"],
                markerfacecolor="white",
            )
            scores = f"validation {as_text(validation)}, training {as_text(train)}"
            axes.set_title(f"best epoch {epochs[best]:.0f}: {scores}", loc="left", fontsize=9)
    figure.legend(handles=panels[0].lines[:2], loc="outside upper center", ncols=2, frameon=False)
    panels[1].yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")

    peak = np.max(learning_rate, initial=0, where=np.isfinite(learning_rate))
    for axes in strips:
        _line(axes, epochs, learning_rate, {"color": QUIET, "linewidth": 1.2})
        if best is not None:
            _rule(axes, epochs[best])
        axes.set_xlabel("epoch")
        axes.set_ylim(0, peak * 1.15 or 1)
        axes.set_yticks([0, peak] if peak else [0], ["0", f"{peak:.2g}"] if peak else ["0"])
    strips[0].set_ylabel("learning\nrate")
    strips[0].xaxis.set_major_locator(MaxNLocator(8, steps=(1, 2, 5, 10), integer=True, min_n_ticks=1))
    margin = max(0.5 if len(epochs) < 3 else 0, 0.02 * np.ptp(epochs))
    strips[0].set_xlim(epochs.min() - margin, epochs.max() + margin)
    return figure


def _line(axes: Axes, epochs: np.ndarray, values: np.ndarray, look: dict) -> None:
    few = len(epochs) <= 12
    axes.plot(
        epochs,
        np.where(np.isfinite(values), values, np.nan),
        marker="o" if few else None,
        markersize=4,
        **look,
    )


def _rule(axes: Axes, epoch: float) -> None:
    axes.axvline(epoch, color=QUIET, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)


@matplotlib.rc_context(STYLE)
def heatmap(confusion_matrix: np.ndarray, labels: Sequence[str], top1: float | None = None) -> Figure:
    """The confusion matrix: a cell's colour is its share of the true class, its text the count.

    The figure grows with the classes. Counts are written where they fit, names up to 200 classes, beyond
    that the class numbers. The colour scale is a square root, so that rare confusions show; a true class
    without images is grey.

    Args:
        confusion_matrix: (classes, classes) int, at least 0, rows: true, columns: predicted.
        labels: the classes' names, in the matrix' order; any text, drawn literally and shortened.
        top1: accuracy in [0, 1] for the title; by default the diagonal's share of the matrix.
    """
    counts = np.asarray(confusion_matrix)
    classes = len(labels)
    if classes == 0 or counts.shape != (classes, classes):
        raise ValueError(f"confusion matrix of shape {counts.shape} does not fit {classes} labels")
    support = counts.sum(axis=1, keepdims=True)
    rates = np.divide(counts, support, out=np.full(counts.shape, np.nan), where=support > 0)
    named = classes <= MAX_NAMED_CLASSES
    # Inches, tried by eye: 1.3 at 2 classes, 0.95 at 5, 0.14 at 100; unnamed, two pixels a cell at 1000.
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
        _name_classes(axes, shorten(labels), cell)
        _write_counts(axes, counts, rates, cell)
    else:
        axes.tick_params(labelsize=0.8 * font_size)

    bar = axes.inset_axes((1 + 0.012 * font_size / side, 0, 0.014 * font_size / side, 1))
    colorbar = figure.colorbar(
        image, cax=bar, ticks=[0, 0.01, 0.05, 0.25, 0.5, 1], format=PercentFormatter(1, 0)
    )
    colorbar.outline.set_visible(False)
    colorbar.set_label("share of the true class", fontsize=0.9 * font_size)
    bar.tick_params(labelsize=0.8 * font_size)
    images = int(counts.sum())
    if top1 is None and images:
        top1 = np.trace(counts) / images
    accuracy = "" if top1 is None else f"top-1 accuracy {top1:.1%}, "
    axes.set_title(f"{accuracy}{images:,} images", fontsize=font_size, pad=0.8 * font_size, loc="left")
    _grow_to_content(figure, axes, side)
    return figure


def _name_classes(axes: Axes, names: Sequence[str], cell: float) -> None:
    font_size = min(10, 54 * cell)
    longest = max(sum(2 if east_asian_width(letter) in "WF" else 1 for letter in name) for name in names)
    level = longest * font_size * 0.65 < 72 * cell
    slant = {"rotation": 45, "rotation_mode": "anchor", "ha": "right"}
    turn = {} if level else slant if len(names) <= 30 else {"rotation": 90}
    axes.set_xticks(range(len(names)), names, fontsize=font_size, parse_math=False, **turn)
    axes.set_yticks(range(len(names)), names, fontsize=font_size, parse_math=False)
    axes.tick_params(length=0)
    edges = np.arange(len(names) + 1) - 0.5
    axes.hlines(edges, *edges[[0, -1]], color=RULE, linewidth=min(0.8, cell))
    axes.vlines(edges, *edges[[0, -1]], color=RULE, linewidth=min(0.8, cell))


def _write_counts(axes: Axes, counts: np.ndarray, rates: np.ndarray, cell: float) -> None:
    """Each cell's count, and the rate beneath it on the diagonal, as far as there is room."""
    font_size = min(12, 60 * cell / max(2, len(str(counts.max()))))
    if font_size < 5 or len(counts) > 30:
        return
    for (row, column), count in np.ndenumerate(counts):
        rate = rates[row, column]
        look = {"color": "white" if rate > DARK_RATE else INK if count else "#8A8A8A", "ha": "center"}
        rated = row == column and cell > 0.45 and np.isfinite(rate)
        axes.text(
            column, row, str(count), va="bottom" if rated else "center_baseline", fontsize=font_size, **look
        )
        if rated:
            axes.text(column, row + 0.06, f"{rate:.0%}", va="top", fontsize=0.75 * font_size, **look)


def _grow_to_content(figure: Figure, axes: Axes, side: float, margin: float = 0.12) -> None:
    """Give the figure the size that its labels need, its square axes staying `side` inches wide."""
    content = figure.get_tightbbox()
    left, bottom = (np.ceil((margin - start) * DPI) / DPI for start in (content.x0, content.y0))
    width, height = left + content.x1 + margin, bottom + content.y1 + margin
    figure.set_size_inches(width, height)
    axes.set_position((left / width, bottom / height, side / width, side / height))


@matplotlib.rc_context(STYLE)
def samples(images: Sequence[np.ndarray], titles: Sequence[str], ncols: int | None = None) -> Figure:
    """A look at a batch: its first 25 images in a grid, each above its title.

    Args:
        images: at least one, each (height, width, 3) uint8 RGB, of any size.
        titles: as many as images; any text, drawn literally and shortened.
        ncols: columns of the grid; by default as square as it goes, 5 at most.
    """
    if not len(images) or len(images) != len(titles):
        raise ValueError(
            f"{len(images)} images with {len(titles)} titles: give as many titles, and one at least"
        )
    count = min(len(images), MAX_SAMPLES)
    ncols = min(count, ncols or int(np.ceil(np.sqrt(count))))
    nrows = -(-count // ncols)

    figure = Figure(figsize=(1.75 * ncols + 0.1, 1.95 * nrows + 0.1), layout="constrained")
    grid = figure.subplots(nrows, ncols, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, image, title in zip(grid.flat, images, shorten(titles[:count], width=22), strict=False):
        axes.imshow(image)
        label = axes.set_xlabel(title, parse_math=False)
        label.set_fontsize(9 * min(1, 1.7 * figure.dpi / max(1, label.get_window_extent().width)))
    return figure


def shorten(labels: Iterable[str], width: int = 28) -> list[str]:
    """Labels on one line of at most `width` characters each, without control characters.

    A list of synonyms ("great white shark, white shark, ...") becomes its first name, unless that would make
    two labels one; anything else too long loses its middle.
    """
    lines = ["".join(filter(str.isprintable, " ".join(label.split()))) for label in labels]
    first_names = Counter(line.split(",")[0] for line in lines)
    short = []
    for line in lines:
        first = line.split(",")[0]
        if len(line) > width and first and first_names[first] == 1:
            line = first
        if len(line) > width:
            tail = width // 3
            line = f"{line[: width - 1 - tail].rstrip()}…{line[-tail:].lstrip()}"
        short.append(line)
    return short


def save_figure(figure: Figure, path: str | os.PathLike) -> None:
    """Write a figure as PNG, 150 dots an inch; `path` holds the old picture or the whole new one, never a part."""
    with replacing(Path(path)) as unfinished, matplotlib.rc_context(STYLE):
        figure.savefig(unfinished, format="png", dpi=DPI)
