"""The page's interactive figures. (`resnext/plots.py` draws those of the model card.)

They are Plotly's JSON, which the browser draws. The tests check it with Plotly's package for Python.
"""

import base64
import html
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gradio.components.plot import PlotData

from resnext.errors import shortened
from resnext.page.i18n import translate
from resnext.page.theme import INK, LAYOUT, QUIET, RATES, RULE, TRAINING, VALIDATION
from resnext.results import CalibrationBin

ORDERS = ("training order", "most confused first", "similar classes together")
# The colors of other models' curves.
_OTHERS = ("#228833", "#AA3377", "#66A0C8", "#BBAA33")
# Confusion matrices of up to so many classes have numbers in their cells.
MAX_COUNTED_CLASSES = 12
# Those of up to so many classes have every name at their axes.
MAX_NAMED_CLASSES = 25
# Those of up to so many classes have exact rates.
MAX_EXACT_CLASSES = 300
# Of a matrix of more classes, so many of the most frequent confusions are drawn as dots.
MAX_DOTS = 400
_MAX_EPOCHS_WITH_MARKERS = 12
_AXIS = {"zeroline": False, "tickfont": {"color": QUIET}, "automargin": True}


# Plotly's JSON: {"data": traces, "layout": attributes}. Arrays of NumPy are in it as they are.
Figure = dict[str, Any]


def as_plot(figure: Figure) -> PlotData:
    """The figure in the form that `gr.Plot` sends, so that a cached figure need not be serialized again."""
    return PlotData(type="plotly", plot=json.dumps(figure, default=_typed_array, allow_nan=False))


def _typed_array(array: np.ndarray) -> dict[str, str] | list:
    """An array as Plotly reads it: in base64, unless its numbers have more than 32 bits."""
    if array.dtype.itemsize > 4:
        return array.tolist()
    return {
        "dtype": array.dtype.str[1:],
        "bdata": base64.b64encode(array.tobytes()).decode(),
        "shape": ", ".join(map(str, array.shape)),
    }


def curve(
    history: list[dict[str, float]],
    name: str,
    best_epoch: float,
    others: dict[str, list[dict[str, float]]] | None = None,
    logarithmic: bool = False,
    language: str = "en",
) -> Figure:
    """Draws the loss or the accuracy of every epoch, with the learning rate below.

    Args:
        history: The rows of history.csv, as `parse_history` returns them.
        name: "loss" or "accuracy".
        best_epoch: The epoch that a dashed line marks.
        others: The histories of other models by name. Their validation curves are added.
        logarithmic: Whether the axis of the loss is logarithmic.
        language: "en" or "zh".
    """
    style = {
        "type": "scatter",
        "mode": "lines+markers" if len(history) <= _MAX_EPOCHS_WITH_MARKERS else "lines",
        "hovertemplate": "%{y:.1%}" if name == "accuracy" else "%{y:.4f}",
    }
    traces = [
        {
            **style,
            **_points(history, key),
            "name": translate(language, label),
            "line": {"color": color, "width": width},
        }
        for key, label, color, width in (
            (name, "training", TRAINING, 2),
            (f"val_{name}", "validation", VALIDATION, 2.5),
        )
    ]
    for (other, rows), color in zip((others or {}).items(), _OTHERS):
        line = {"color": color, "width": 2, "dash": "dot"}
        # Plotly interprets some HTML.
        traces.append({**style, **_points(rows, f"val_{name}"), "name": html.escape(other), "line": line})
    # Epoch 0 is a linear probe, whose steps are of another kind.
    rates = _points([row for row in history if row["epoch"]], "learning_rate")
    title = {"font": {"size": 13}, "standoff": 10}
    epoch = translate(language, "epoch")
    layout = {
        **LAYOUT,
        **_epoch_mark(best_epoch, language),
        "dragmode": "zoom",
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "margin": {"l": 16, "r": 16, "t": 72, "b": 16},
        "legend": {"orientation": "h", "x": 0, "y": 1.09, "yanchor": "bottom"},
        "xaxis": {
            **_AXIS,
            "title": {**title, "text": epoch},
            "showgrid": False,
            "showspikes": False,
            "anchor": "y2",
            "tickformat": "d",
            "unifiedhovertitle": {"text": epoch + " %{x}"},
        },
        "yaxis": {
            **_AXIS,
            "gridcolor": RULE,
            "title": {**title, "text": translate(language, name)},
            "domain": [0.3, 1],
            "tickformat": ".0%" if name == "accuracy" else "",
            "type": "log" if logarithmic and name == "loss" else "linear",
        },
        "yaxis2": _learning_rate_axis(rates, language),
    }
    return {"data": [*traces, _learning_rate_curve(rates, language)], "layout": layout}


def _points(rows: list[dict[str, float]], key: str) -> dict[str, list]:
    """A column by epoch. A value that is NaN or infinite leaves a gap in the curve."""
    values = [row[key] if math.isfinite(row[key]) else None for row in rows]
    return {"x": [row["epoch"] for row in rows], "y": values}


def _learning_rate_curve(points: dict[str, list], language: str) -> dict[str, Any]:
    return {
        **points,
        "type": "scatter",
        "name": translate(language, "learning rate"),
        "yaxis": "y2",
        "showlegend": False,
        "mode": "lines",
        "line": {"color": QUIET, "width": 1.5},
        "hovertemplate": "%{y:.3g}",
    }


def _learning_rate_axis(points: dict[str, list], language: str) -> dict[str, Any]:
    peak = max((rate for rate in points["y"] if rate is not None), default=0)
    return {
        **_AXIS,
        "gridcolor": RULE,
        "title": {"font": {"size": 13}, "standoff": 10, "text": translate(language, "learning<br>rate")},
        "domain": [0, 0.18],
        "range": [0, 1.15 * peak or 1],
        "tickvals": [0, peak],
        "ticktext": ["0", f"{peak:.2g}"],
    }


def _epoch_mark(epoch: float, language: str) -> dict[str, list]:
    """A dashed line and its text, as parts of a layout."""
    text = translate(language, "best epoch {epoch}", epoch=f"{epoch:.0f}")
    ends = {"x0": epoch, "x1": epoch, "y0": 0, "y1": 1, "yref": "paper"}
    line = {"type": "line", **ends, "line": {"color": QUIET, "width": 1, "dash": "dash"}}
    note = {
        "x": epoch,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "text": text,
        "font": {"color": QUIET, "size": 12},
    }
    return {"shapes": [line], "annotations": [note]}


def confusion_figure(
    matrix: np.ndarray,
    names: list[str],
    order: str = "training order",
    values: str = "rates",
    language: str = "en",
) -> Figure:
    """Draws the confusion matrix. The opacity of a cell is the square root of its share of the true class.

    Args:
        matrix: (classes, classes) int, rows: true, columns: predicted.
        names: The names of the classes, any text.
        order: One of `ORDERS`.
        values: "counts" or "rates", in the cells and when the pointer is over them.
        language: "en" or "zh".

    Returns:
        The figure. Its layout's `meta` has the indices of the classes in the order in which they are drawn.
    """
    indices = class_order(matrix, order)
    unique = unique_names(names)
    names = [unique[index] for index in indices]
    # Plotly interprets some HTML.
    places = [html.escape(name) for name in names]
    matrix = matrix[np.ix_(indices, indices)]
    support = matrix.sum(axis=1, keepdims=True)
    rates = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0).astype(np.float32)
    counted = len(names) <= MAX_COUNTED_CLASSES
    named = len(names) <= MAX_NAMED_CLASSES
    cells, hover = _cells(matrix, rates, values, language)
    true = translate(language, "true")
    predicted = translate(language, "predicted")
    classes = f"{true} <b>%{{y}}</b><br>{predicted} <b>%{{x}}</b><br>"
    traces = [
        {
            **cells,
            "type": "heatmap",
            "x": places,
            "y": places,
            "zmin": 0,
            "colorscale": RATES,
            "showscale": False,
            "xgap": 2 if named else 0,
            "ygap": 2 if named else 0,
            "hovertemplate": f"{classes}{hover}<extra></extra>",
        }
    ]
    if len(names) > MAX_EXACT_CLASSES:
        traces.append(_dots(matrix, rates, places, classes, language))
    axis = _class_axis(names, places)
    title = {"font": {"size": 13}, "standoff": 12}
    layout = {
        **LAYOUT,
        "meta": indices.tolist(),
        "dragmode": False if named else "zoom",
        "margin": {"l": 16, "r": 24, "t": 24, "b": 16},
        "xaxis": {**axis, "title": {**title, "text": predicted}},
        "yaxis": {**axis, "title": {**title, "text": true}, "autorange": "reversed"},
    }
    if counted:
        layout["annotations"] = _cell_texts(matrix, rates, values)
    return {"data": traces, "layout": layout}


def _cells(matrix: np.ndarray, rates: np.ndarray, values: str, language: str) -> tuple[dict[str, Any], str]:
    """The data of the cells, and what is shown when the pointer is over one of them."""
    share = translate(language, "{rate} of the true class", rate="%{z:.1%}")
    counts = matrix.astype(np.min_scalar_type(int(matrix.max(initial=0))))
    if len(matrix) <= MAX_EXACT_CLASSES:
        if values == "rates":
            return {"z": rates, "zmax": 1}, share
        images = translate(language, "{images} images", images="%{customdata:,}")
        return {"z": rates, "zmax": 1, "customdata": counts}, f"{images}, {share}"
    # One byte per cell: the browser gets megabytes as it is.
    if values == "counts":
        images = translate(language, "{images} images", images="%{z:,}")
        return {"z": counts, "zmax": int(counts.max())}, images
    # At least one percent where there is any image.
    percent = np.maximum(np.round(100 * rates), rates > 0).astype(np.uint8)
    return {"z": percent, "zmax": 100}, translate(language, "{rate} of the true class", rate="%{z}%")


def _dots(matrix, rates, places: list[str], classes: str, language: str) -> dict[str, Any]:
    """Marks of the most frequent confusions, because the cells are smaller than a pixel."""
    rows, columns = _most_frequent(matrix, MAX_DOTS)
    images = translate(language, "{images} images", images="%{customdata[0]:,}")
    share = translate(language, "{rate} of the true class", rate="%{customdata[1]:.1%}")
    return {
        "type": "scatter",
        "x": [places[column] for column in columns],
        "y": [places[row] for row in rows],
        "mode": "markers",
        "showlegend": False,
        "customdata": np.stack([matrix[rows, columns], rates[rows, columns]], axis=1).tolist(),
        "marker": {"symbol": "square", "size": 4, "color": "rgb(43, 116, 184)"},
        "hovertemplate": f"{classes}{images}, {share}<extra></extra>",
    }


def _most_frequent(matrix: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the confusions with the most images."""
    confusions = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    places = np.argsort(-confusions, axis=None, kind="stable")[:most]
    return np.unravel_index(places[confusions.flat[places] > 0], matrix.shape)


def _class_axis(names: list[str], places: list[str]) -> dict[str, Any]:
    """An axis of classes.

    Args:
        names: The unique names of the classes in their order.
        places: The same names as Plotly's categories.
    """
    counted = len(names) <= MAX_COUNTED_CLASSES
    named = len(names) <= MAX_NAMED_CLASSES
    short = [html.escape(shortened(name, 18 if counted else 12)) for name in names]
    axis = {
        "type": "category",
        "automargin": True,
        "fixedrange": named,
        "showgrid": False,
        "ticks": "",
        "ticklabelstandoff": 6,
        "tickfont": {"size": 12 if counted else 10},
    }
    if named:
        return {**axis, "tickvals": places, "ticktext": short}
    # Plotly chooses which classes to name, and names more of them when zoomed in.
    aliases = {place: name for place, name in zip(places, short) if place != name}
    return {**axis, "nticks": 12, "labelalias": aliases}


def _cell_texts(matrix: np.ndarray, rates: np.ndarray, values: str) -> list[dict]:
    numbers = matrix if values == "counts" else rates
    form = "," if values == "counts" else ".0%"
    return [
        {
            "x": column,
            "y": row,
            "text": format(value, form),
            "showarrow": False,
            "font": {"color": "white" if rates[row, column] > 0.75 else INK, "size": 14},
        }
        for (row, column), value in np.ndenumerate(numbers)
    ]


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, shortened, with an index unless they are unique: Plotly merges categories of one name."""
    names = list(map(shortened, names))
    uses = Counter(names)
    numbered = [f"{name} ({index})" for index, name in enumerate(names)]
    unique = [name if uses[name] == 1 else other for name, other in zip(names, numbered)]
    return unique if len(set(unique)) == len(names) else numbered


def most_confused(matrix: np.ndarray) -> tuple[int, int]:
    """Row and column of the most frequent confusion; (0, 0) if no image was classified wrongly."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    return int(row), int(column)


def class_order(matrix: np.ndarray, order: str) -> np.ndarray:
    """The indices of the classes in an order.

    Args:
        matrix: (classes, classes) int, the confusion matrix.
        order: One of `ORDERS`. "most confused first" sorts by recall, "similar classes together" clusters.
    """
    rates = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if order == "most confused first":
        return np.argsort(rates.diagonal(), kind="stable")
    if order == "similar classes together":
        return _clustered(rates + rates.T)
    return np.arange(len(matrix))


def _clustered(similarity: np.ndarray) -> np.ndarray:
    """The order of the leaves of average-linkage clustering.

    Two clusters are joined at the ends that are most similar.

    Args:
        similarity: (n, n) float, symmetric. The diagonal is ignored.
    """
    np.fill_diagonal(similarity, -np.inf)
    between = similarity.copy()
    sizes = np.ones(len(similarity))
    clusters = [[index] for index in range(len(similarity))]
    nearest = between.argmax(axis=1)
    closeness = between.max(axis=1)
    for _ in range(len(similarity) - 1):
        kept = int(closeness.argmax())
        gone = int(nearest[kept])
        clusters[kept] = _joined(clusters[kept], clusters[gone], similarity)
        average = (between[kept] * sizes[kept] + between[gone] * sizes[gone]) / (sizes[kept] + sizes[gone])
        average[[kept, gone]] = -np.inf
        sizes[kept] += sizes[gone]
        between[kept] = average
        between[:, kept] = average
        between[gone] = -np.inf
        between[:, gone] = -np.inf
        closeness[gone] = -np.inf
        # Only these clusters may have another nearest one now.
        changed = np.flatnonzero((nearest == kept) | (nearest == gone) | (average > closeness))
        changed = changed[closeness[changed] > -np.inf]
        nearest[changed] = between[changed].argmax(axis=1)
        closeness[changed] = between[changed, nearest[changed]]
    return np.array(max(clusters, key=len))


def _joined(left: list[int], right: list[int], similarity: np.ndarray) -> list[int]:
    """Both clusters in one, either of them reversed if that makes the neighbors more similar."""
    ways = ((left, right), (left, right[::-1]), (left[::-1], right), (left[::-1], right[::-1]))
    first, second = max(ways, key=lambda way: similarity[way[0][-1], way[1][0]])
    return first + second


def reliability_figure(
    bins: Sequence[CalibrationBin], before: Sequence[CalibrationBin] = (), language: str = "en"
) -> Figure:
    """Draws the reliability diagram: accuracy over confidence (Guo et al., 2017, arXiv:1706.04599).

    Args:
        bins: The bins of predictions, at least one. The area of a dot is proportional to the bin's images.
        before: The bins before the network was calibrated; empty if it was not.
        language: "en" or "zh".
    """
    hover = translate(language, "{images} images", images="%{customdata:,}")
    traces = []
    for values, name, color in (
        (before, "before calibration", TRAINING),
        (bins, "after calibration", VALIDATION),
    ):
        if values:
            confidence, accuracy, images = zip(*values)
            traces.append(
                {
                    "type": "scatter",
                    "x": confidence,
                    "y": accuracy,
                    "customdata": images,
                    "mode": "lines+markers",
                    "name": translate(language, name),
                    "showlegend": bool(before),
                    "line": {"color": color, "width": 2.5},
                    "cliponaxis": False,
                    "marker": {"size": [6 + 18 * math.sqrt(count / sum(images)) for count in images]},
                    "hovertemplate": f"%{{x:.0%}} → %{{y:.0%}}<br>{hover}<extra></extra>",
                }
            )
    axis = {
        **_AXIS,
        "range": [0, 1],
        "gridcolor": RULE,
        "tickformat": ".0%",
        "fixedrange": True,
        "ticks": "",
        "ticklabelstandoff": 6,
    }
    title = {"font": {"size": 13}, "standoff": 10}
    diagonal = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1}
    layout = {
        **LAYOUT,
        "dragmode": False,
        "margin": {"l": 16, "r": 28, "t": 24, "b": 16},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "shapes": [{**diagonal, "line": {"color": QUIET, "width": 1, "dash": "dash"}}],
        "xaxis": {**axis, "title": {**title, "text": translate(language, "confidence")}},
        "yaxis": {**axis, "title": {**title, "text": translate(language, "accuracy")}},
    }
    return {"data": traces, "layout": layout}
