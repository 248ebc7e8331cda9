"""The page's interactive figures. (`training/figures.py` draws those of the model card.)"""

import html
import math
from collections import Counter

import numpy as np
import plotly.graph_objects as go

from resnext.page.records import HISTORY_COLUMNS
from resnext.page.style import INK, LAYOUT, QUIET, RATES, RULE, TRAINING, VALIDATION
from resnext.page.words import say

MOST_COUNTED_CLASSES, MOST_NAMED_CLASSES = 12, 25  # heatmaps with counts in the cells, with names at the axes


def curve(history: list[dict[str, float]], name: str, best_epoch: float) -> go.Figure:
    """"loss" or "accuracy" by epoch, the learning rate beneath, the best epoch marked."""
    column = {key: [row[key] if math.isfinite(row[key]) else None for row in history] for key in HISTORY_COLUMNS}
    shown, mode = (".1%" if name == "accuracy" else ".4f"), ("lines+markers" if len(history) <= 12 else "lines")
    figure = go.Figure()
    for key, label, colour, width in ((name, "training", TRAINING, 2), (f"val_{name}", "validation", VALIDATION, 2.5)):
        figure.add_scatter(
            x=column["epoch"], y=column[key], name=label, mode=mode, line={"color": colour, "width": width},
            hovertemplate=f"%{{y:{shown}}}",
        )  # fmt: skip
    figure.add_scatter(
        x=column["epoch"], y=column["learning_rate"], name="learning rate", yaxis="y2", showlegend=False, mode="lines",
        line={"color": QUIET, "width": 1.5}, hovertemplate="%{y:.3g}",
    )  # fmt: skip
    rule = {"color": QUIET, "width": 1, "dash": "dash"}
    figure.add_shape(type="line", x0=best_epoch, x1=best_epoch, y0=0, y1=1, yref="paper", line=rule)
    figure.add_annotation(
        x=best_epoch, y=1, yref="paper", yanchor="bottom", showarrow=False, text=f"best epoch {best_epoch:.0f}",
        font={"color": QUIET, "size": 12},
    )  # fmt: skip
    peak = max((rate for rate in column["learning_rate"] if rate is not None), default=0)
    title = {"font": {"size": 13}, "standoff": 10}
    axis = {"gridcolor": RULE, "zeroline": False, "tickfont": {"color": QUIET}, "fixedrange": True, "automargin": True}
    figure.update_layout(
        **LAYOUT,
        dragmode=False,
        hovermode="x unified",
        hoversubplots="axis",
        margin={"l": 16, "r": 16, "t": 72, "b": 16},
        legend={"orientation": "h", "x": 0, "y": 1.09, "yanchor": "bottom"},
        xaxis={**axis, "title": {**title, "text": "epoch"}, "showgrid": False, "showspikes": False, "anchor": "y2",
               "tickformat": "d", "unifiedhovertitle": {"text": "epoch %{x}"}},
        yaxis={**axis, "title": {**title, "text": name}, "domain": [0.3, 1],
               "tickformat": ".0%" if name == "accuracy" else ""},
        yaxis2={**axis, "title": {**title, "text": "learning<br>rate"}, "domain": [0, 0.18], "range": [0, 1.15 * peak or 1],
                "tickvals": [0, peak], "ticktext": ["0", f"{peak:.2g}"]},
    )  # fmt: skip
    return figure


def heatmap(matrix: np.ndarray, classes: list[str]) -> go.Figure:
    """The confusion matrix: a cell's blue is its share of the true class.

    Args:
        matrix: (classes, classes) int, rows: true, columns: predicted.
        classes: their names; any text, drawn literally.
    """
    counted, named = len(classes) <= MOST_COUNTED_CLASSES, len(classes) <= MOST_NAMED_CLASSES
    support = matrix.sum(axis=1, keepdims=True)
    rates = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0).astype(np.float32)
    # Plotly makes one of categories with one name, and reads some HTML.
    uses = Counter(classes)
    names = [html.escape(name if uses[name] == 1 else f"{name} ({index})") for index, name in enumerate(classes)]
    figure = go.Figure()
    figure.add_heatmap(
        z=rates, x=names, y=names, customdata=matrix, zmin=0, zmax=1, colorscale=RATES, showscale=False,
        xgap=2 if named else 0, ygap=2 if named else 0,
        hovertemplate="true <b>%{y}</b><br>predicted <b>%{x}</b><br>"
        "%{customdata:,} images, %{z:.1%} of the true class<extra></extra>",
    )  # fmt: skip
    if counted:
        for (row, column), images in np.ndenumerate(matrix):
            font = {"color": "white" if rates[row, column] > 0.75 else INK, "size": 14}
            figure.add_annotation(x=names[column], y=names[row], text=f"{images:,}", showarrow=False, font=font)
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
        xaxis={**axis, "title": {**title, "text": "predicted"}},
        yaxis={**axis, "title": {**title, "text": "true"}, "autorange": "reversed"},
    )
    return figure


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
