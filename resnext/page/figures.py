"""The page's interactive figures. (`training/figures.py` draws those of the model card.)"""

import html
import math
from collections import Counter

import numpy as np
import plotly.graph_objects as go
from gradio.components.plot import PlotData

from resnext.page.records import HISTORY_COLUMNS
from resnext.page.style import INK, LAYOUT, QUIET, RATES, RULE, TRAINING, VALIDATION
from resnext.page.words import say

ORDERS = ("as trained", "most confused first", "similar ones together")
OTHERS = ("#228833", "#AA3377", "#66A0C8", "#BBAA33")  # other models' curves
MOST_COUNTED_CLASSES, MOST_NAMED_CLASSES = 12, 25  # heatmaps with counts in the cells, with names at the axes


def as_plot(figure: go.Figure) -> PlotData:
    """The figure as `gr.Plot` sends it, so that one which is kept need not be written out again."""
    return PlotData(type="plotly", plot=figure.to_json())


def curve(
    history: list[dict[str, float]], name: str, best_epoch: float, others: dict[str, list] | None = None,
    logarithmic: bool = False, tongue: str = "en",
) -> go.Figure:
    """"loss" or "accuracy" by epoch, the learning rate beneath, the best epoch marked.

    Args:
        history: as `parse_history` gives it.
        name: "loss" or "accuracy".
        best_epoch: where the dashed line stands.
        others: histories of other models by name; their validation curves lie over this one.
        logarithmic: the axis of the loss.
        tongue: "en" or "zh".
    """
    column = {key: [row[key] if math.isfinite(row[key]) else None for row in history] for key in HISTORY_COLUMNS}
    shown, mode = (".1%" if name == "accuracy" else ".4f"), ("lines+markers" if len(history) <= 12 else "lines")
    figure = go.Figure()
    for key, label, colour, width in ((name, "training", TRAINING, 2), (f"val_{name}", "validation", VALIDATION, 2.5)):
        figure.add_scatter(
            x=column["epoch"], y=column[key], name=say(tongue, label), mode=mode, line={"color": colour, "width": width},
            hovertemplate=f"%{{y:{shown}}}",
        )  # fmt: skip
    for (other, rows), colour in zip((others or {}).items(), OTHERS):
        values = [row[f"val_{name}"] if math.isfinite(row[f"val_{name}"]) else None for row in rows]
        figure.add_scatter(
            x=[row["epoch"] for row in rows], y=values, name=html.escape(other), mode=mode,
            line={"color": colour, "width": 2, "dash": "dot"}, hovertemplate=f"%{{y:{shown}}}",
        )  # fmt: skip
    figure.add_scatter(
        x=column["epoch"], y=column["learning_rate"], name=say(tongue, "learning rate"), yaxis="y2", showlegend=False, mode="lines",
        line={"color": QUIET, "width": 1.5}, hovertemplate="%{y:.3g}",
    )  # fmt: skip
    rule = {"color": QUIET, "width": 1, "dash": "dash"}
    figure.add_shape(type="line", x0=best_epoch, x1=best_epoch, y0=0, y1=1, yref="paper", line=rule)
    figure.add_annotation(
        x=best_epoch, y=1, yref="paper", yanchor="bottom", showarrow=False, text=say(tongue, "best epoch {epoch}", epoch=f"{best_epoch:.0f}"),
        font={"color": QUIET, "size": 12},
    )  # fmt: skip
    peak = max((rate for rate in column["learning_rate"] if rate is not None), default=0)
    title = {"font": {"size": 13}, "standoff": 10}
    axis = {"gridcolor": RULE, "zeroline": False, "tickfont": {"color": QUIET}, "automargin": True}
    figure.update_layout(
        **LAYOUT,
        dragmode="zoom",
        hovermode="x unified",
        hoversubplots="axis",
        margin={"l": 16, "r": 16, "t": 72, "b": 16},
        legend={"orientation": "h", "x": 0, "y": 1.09, "yanchor": "bottom"},
        xaxis={**axis, "title": {**title, "text": say(tongue, "epoch")}, "showgrid": False, "showspikes": False, "anchor": "y2",
               "tickformat": "d", "unifiedhovertitle": {"text": say(tongue, "epoch") + " %{x}"}},
        yaxis={**axis, "title": {**title, "text": say(tongue, name)}, "domain": [0.3, 1],
               "tickformat": ".0%" if name == "accuracy" else "", "type": "log" if logarithmic and name == "loss" else "linear"},
        yaxis2={**axis, "title": {**title, "text": say(tongue, "learning<br>rate")}, "domain": [0, 0.18], "range": [0, 1.15 * peak or 1],
                "tickvals": [0, peak], "ticktext": ["0", f"{peak:.2g}"]},
    )  # fmt: skip
    return figure


def heatmap(
    matrix: np.ndarray, classes: list[str], order: str = "as trained", show: str = "rates", tongue: str = "en"
) -> go.Figure:
    """The confusion matrix: a cell's blue is its share of the true class.

    Args:
        matrix: (classes, classes) int, rows: true, columns: predicted.
        classes: their names; any text, drawn literally.
        order: "as trained", "most confused first" or "similar ones together".
        show: "counts" or "rates", in the cells and when hovered.
        tongue: "en" or "zh".
    """
    # Plotly makes one of categories with one name, and reads some HTML.
    uses = Counter(classes)
    names = [html.escape(name if uses[name] == 1 else f"{name} ({index})") for index, name in enumerate(classes)]
    chosen = class_order(matrix, order)
    matrix, names, classes = matrix[np.ix_(chosen, chosen)], [names[i] for i in chosen], [classes[i] for i in chosen]
    counted, named = len(classes) <= MOST_COUNTED_CLASSES, len(classes) <= MOST_NAMED_CLASSES
    support = matrix.sum(axis=1, keepdims=True)
    rates = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0).astype(np.float32)
    images = say(tongue, "{images} images", images="%{customdata:,}" if show == "counts" else "")
    share = say(tongue, "{rate} of the true class", rate="%{z:.1%}")
    figure = go.Figure()
    figure.add_heatmap(
        z=rates, x=names, y=names, customdata=matrix.astype(np.min_scalar_type(int(matrix.max(initial=0)))) if show == "counts" else None,
        zmin=0, zmax=1, colorscale=RATES, showscale=False, xgap=2 if named else 0, ygap=2 if named else 0,
        hovertemplate=f"{say(tongue, 'true')} <b>%{{y}}</b><br>{say(tongue, 'predicted')} <b>%{{x}}</b><br>"
        + (f"{images}, {share}" if show == "counts" else share) + "<extra></extra>",
    )  # fmt: skip
    if counted:
        for (row, column), count in np.ndenumerate(matrix):
            font = {"color": "white" if rates[row, column] > 0.75 else INK, "size": 14}
            text = f"{count:,}" if show == "counts" else f"{rates[row, column]:.0%}"
            figure.add_annotation(x=names[column], y=names[row], text=text, showarrow=False, font=font)
    axis = {
        "type": "category", "automargin": True, "fixedrange": named, "showgrid": False, "showticklabels": named,
        "tickvals": names, "ticktext": [html.escape(_short(name, 18 if counted else 12)) for name in classes],
        "tickfont": {"size": 12 if counted else 10}, "ticks": "", "ticklabelstandoff": 6,
    }  # fmt: skip
    title = {"font": {"size": 13}, "standoff": 12}
    figure.update_layout(
        **LAYOUT,
        dragmode=False if named else "zoom",
        margin={"l": 16, "r": 24, "t": 24, "b": 16},
        xaxis={**axis, "title": {**title, "text": say(tongue, "predicted")}},
        yaxis={**axis, "title": {**title, "text": say(tongue, "true")}, "autorange": "reversed"},
    )
    return figure


def class_order(matrix: np.ndarray, order: str) -> np.ndarray:
    """Indices of the classes: "as trained", by recall ("most confused first"), or neighbours in confusion side by side.

    "similar ones together" sorts by the Fiedler vector of the graph whose edges are the confusions.
    """
    if order == "most confused first":
        return np.argsort(matrix.diagonal() / np.maximum(matrix.sum(axis=1), 1), kind="stable")
    if order == "similar ones together" and len(matrix) > 2:
        confusions = (matrix + matrix.T) * (1 - np.eye(len(matrix))) + 1e-3  # all are connected, if weakly
        laplacian = np.diag(confusions.sum(axis=1)) - confusions
        return np.argsort(np.linalg.eigh(laplacian)[1][:, 1], kind="stable")
    return np.arange(len(matrix))


def reliability(calibration: list[tuple[float, float, int]], tongue: str = "en") -> go.Figure:
    """The share that was right by the probability that the network gave (arXiv:1706.04599).

    Args:
        calibration: (mean probability, share right, images) of each bin that has images.
        tongue: "en" or "zh".
    """
    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": QUIET, "width": 1, "dash": "dash"})
    given, right, images = zip(*calibration)
    figure.add_scatter(
        x=given, y=right, customdata=images, mode="lines+markers", line={"color": VALIDATION, "width": 2.5},
        marker={"size": [6 + 18 * math.sqrt(count / sum(images)) for count in images]},
        hovertemplate=f"%{{x:.0%}} → %{{y:.0%}}<br>{say(tongue, '{images} images', images='%{customdata:,}')}<extra></extra>",
    )  # fmt: skip
    axis = {"range": [0, 1.02], "gridcolor": RULE, "zeroline": False, "tickformat": ".0%", "tickfont": {"color": QUIET},
            "fixedrange": True, "automargin": True}  # fmt: skip
    title = {"font": {"size": 13}, "standoff": 10}
    figure.update_layout(
        **LAYOUT, dragmode=False, margin={"l": 16, "r": 16, "t": 24, "b": 16},
        xaxis={**axis, "title": {**title, "text": say(tongue, "probability that the network gave")}},
        yaxis={**axis, "title": {**title, "text": say(tongue, "share that was right")}},
    )  # fmt: skip
    return figure


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
