"""The page's interactive figures. (`training/figures.py` draws those of the model card.)"""

import html
import math
from collections import Counter

import numpy as np
import plotly.graph_objects as go
from gradio.components.plot import PlotData

from resnext.page.i18n import say
from resnext.page.records import HISTORY_COLUMNS
from resnext.page.style import INK, LAYOUT, QUIET, RATES, RULE, TRAINING, VALIDATION

ORDERS = ("as trained", "most confused first", "similar ones together")
OTHERS = ("#228833", "#AA3377", "#66A0C8", "#BBAA33")  # other models' curves
# Heatmaps with numbers in the cells, with every name at the axes, with rates to a tenth of a percent.
MAX_COUNTED_CLASSES, MAX_NAMED_CLASSES, MAX_EXACT_CLASSES = 12, 25, 300
MAX_DOTS = 400  # on a heatmap of more classes than that


def as_plot(figure: go.Figure) -> PlotData:
    """The figure as `gr.Plot` sends it, so that one which is kept need not be written out again."""
    return PlotData(type="plotly", plot=figure.to_json())


def curve(
    history: list[dict[str, float]],
    name: str,
    best_epoch: float,
    others: dict[str, list] | None = None,
    logarithmic: bool = False,
    language: str = "en",
) -> go.Figure:
    """ "loss" or "accuracy" by epoch, the learning rate beneath, the best epoch marked.

    Args:
        history: as `parse_history` gives it.
        name: "loss" or "accuracy".
        best_epoch: where the dashed line stands.
        others: histories of other models by name; their validation curves lie over this one.
        logarithmic: the axis of the loss.
        language: "en" or "zh".
    """
    column = {
        key: [row[key] if math.isfinite(row[key]) else None for row in history] for key in HISTORY_COLUMNS
    }
    shown, mode = (
        (".1%" if name == "accuracy" else ".4f"),
        ("lines+markers" if len(history) <= 12 else "lines"),
    )
    figure = go.Figure()
    for key, label, colour, width in (
        (name, "training", TRAINING, 2),
        (f"val_{name}", "validation", VALIDATION, 2.5),
    ):
        figure.add_scatter(
            x=column["epoch"],
            y=column[key],
            name=say(language, label),
            mode=mode,
            line={"color": colour, "width": width},
            hovertemplate=f"%{{y:{shown}}}",
        )
    for (other, rows), colour in zip((others or {}).items(), OTHERS):
        values = [row[f"val_{name}"] if math.isfinite(row[f"val_{name}"]) else None for row in rows]
        figure.add_scatter(
            x=[row["epoch"] for row in rows],
            y=values,
            name=html.escape(other),
            mode=mode,
            line={"color": colour, "width": 2, "dash": "dot"},
            hovertemplate=f"%{{y:{shown}}}",
        )
    figure.add_scatter(
        x=column["epoch"],
        y=column["learning_rate"],
        name=say(language, "learning rate"),
        yaxis="y2",
        showlegend=False,
        mode="lines",
        line={"color": QUIET, "width": 1.5},
        hovertemplate="%{y:.3g}",
    )
    rule = {"color": QUIET, "width": 1, "dash": "dash"}
    figure.add_shape(type="line", x0=best_epoch, x1=best_epoch, y0=0, y1=1, yref="paper", line=rule)
    figure.add_annotation(
        x=best_epoch,
        y=1,
        yref="paper",
        yanchor="bottom",
        showarrow=False,
        text=say(language, "best epoch {epoch}", epoch=f"{best_epoch:.0f}"),
        font={"color": QUIET, "size": 12},
    )
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
        xaxis={
            **axis,
            "title": {**title, "text": say(language, "epoch")},
            "showgrid": False,
            "showspikes": False,
            "anchor": "y2",
            "tickformat": "d",
            "unifiedhovertitle": {"text": say(language, "epoch") + " %{x}"},
        },
        yaxis={
            **axis,
            "title": {**title, "text": say(language, name)},
            "domain": [0.3, 1],
            "tickformat": ".0%" if name == "accuracy" else "",
            "type": "log" if logarithmic and name == "loss" else "linear",
        },
        yaxis2={
            **axis,
            "title": {**title, "text": say(language, "learning<br>rate")},
            "domain": [0, 0.18],
            "range": [0, 1.15 * peak or 1],
            "tickvals": [0, peak],
            "ticktext": ["0", f"{peak:.2g}"],
        },
    )
    return figure


def heatmap(
    matrix: np.ndarray, names: list[str], order: str = "as trained", show: str = "rates", language: str = "en"
) -> go.Figure:
    """The confusion matrix: a cell's blue is its share of the true class.

    Its `meta` holds the classes' indices in the order in which they are drawn.

    Args:
        matrix: (classes, classes) int, rows: true, columns: predicted.
        names: of the classes; any text, drawn literally.
        order: "as trained", "most confused first" or "similar ones together".
        show: "counts" or "rates", in the cells and when hovered.
        language: "en" or "zh".
    """
    chosen, unlike = class_order(matrix, order), distinct(names)
    matrix, shown = matrix[np.ix_(chosen, chosen)], [unlike[index] for index in chosen]
    places = [html.escape(name) for name in shown]  # Plotly reads some HTML
    counted, named = len(names) <= MAX_COUNTED_CLASSES, len(names) <= MAX_NAMED_CLASSES
    support = matrix.sum(axis=1, keepdims=True)
    rates = np.divide(matrix, support, out=np.zeros(matrix.shape), where=support > 0).astype(np.float32)
    counts = matrix.astype(np.min_scalar_type(int(matrix.max(initial=0))))
    names_told = f"{say(language, 'true')} <b>%{{y}}</b><br>{say(language, 'predicted')} <b>%{{x}}</b><br>"
    images, share = (
        say(language, "{images} images", images="%{customdata:,}"),
        say(language, "{rate} of the true class", rate="%{z:.1%}"),
    )
    cells = {"z": rates, "zmax": 1, "customdata": counts if show == "counts" else None}
    told = f"{images}, {share}" if show == "counts" else share
    many = len(names) > MAX_EXACT_CLASSES
    if many and show == "counts":  # a byte a cell: the browser gets megabytes as it is
        cells, told = (
            {"z": counts, "zmax": int(counts.max())},
            say(language, "{images} images", images="%{z:,}"),
        )
    elif many:  # at least one percent where there is any image
        cells = {"z": np.maximum(np.round(100 * rates), rates > 0).astype(np.uint8), "zmax": 100}
        told = say(language, "{rate} of the true class", rate="%{z}%")
    figure = go.Figure()
    figure.add_heatmap(
        **cells,
        x=places,
        y=places,
        zmin=0,
        colorscale=RATES,
        showscale=False,
        xgap=2 if named else 0,
        ygap=2 if named else 0,
        hovertemplate=f"{names_told}{told}<extra></extra>",
    )
    if many:  # cells are smaller than a pixel: the most frequent confusions are dots that are seen and hit
        rows, columns = _most_frequent(matrix, MAX_DOTS)
        images = say(language, "{images} images", images="%{customdata[0]:,}")
        share = say(language, "{rate} of the true class", rate="%{customdata[1]:.1%}")
        figure.add_scatter(
            x=[places[column] for column in columns],
            y=[places[row] for row in rows],
            mode="markers",
            showlegend=False,
            customdata=np.stack([matrix[rows, columns], rates[rows, columns]], axis=1).tolist(),
            marker={"symbol": "square", "size": 4, "color": "rgb(43, 116, 184)"},
            hovertemplate=f"{names_told}{images}, {share}<extra></extra>",
        )
    axis = {
        "type": "category",
        "automargin": True,
        "fixedrange": named,
        "showgrid": False,
        "ticks": "",
        "ticklabelstandoff": 6,
        "tickfont": {"size": 12 if counted else 10},
    }
    short = [html.escape(_short(name, 18 if counted else 12)) for name in shown]
    if named:
        axis |= {"tickvals": places, "ticktext": short}
    else:  # Plotly chooses whom to name, and names more when zoomed in
        axis |= {
            "nticks": 12,
            "labelalias": {name: label for name, label in zip(places, short) if name != label},
        }
    title = {"font": {"size": 13}, "standoff": 12}
    figure.update_layout(
        **LAYOUT,
        meta=chosen.tolist(),
        dragmode=False if named else "zoom",
        margin={"l": 16, "r": 24, "t": 24, "b": 16},
        xaxis={**axis, "title": {**title, "text": say(language, "predicted")}},
        yaxis={**axis, "title": {**title, "text": say(language, "true")}, "autorange": "reversed"},
        annotations=_cell_texts(
            matrix if show == "counts" else rates, rates, "," if show == "counts" else ".0%"
        )
        if counted
        else [],
    )
    return figure


def _most_frequent(matrix: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the confusions with the most images."""
    confusions = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    places = np.argsort(-confusions, axis=None, kind="stable")[:most]
    return np.unravel_index(places[confusions.flat[places] > 0], matrix.shape)


def _cell_texts(values: np.ndarray, rates: np.ndarray, form: str) -> list[dict]:
    return [
        {
            "x": column,
            "y": row,
            "text": format(value, form),
            "showarrow": False,
            "font": {"color": "white" if rates[row, column] > 0.75 else INK, "size": 14},
        }
        for (row, column), value in np.ndenumerate(values)
    ]


def distinct(names: list[str]) -> list[str]:
    """The names, with their places where two are the same (Plotly makes one of categories with one name)."""
    uses = Counter(names)
    numbered = [name if uses[name] == 1 else f"{name} ({index})" for index, name in enumerate(names)]
    return (
        numbered
        if len(set(numbered)) == len(names)
        else [f"{name} ({index})" for index, name in enumerate(names)]
    )


def class_order(matrix: np.ndarray, order: str) -> np.ndarray:
    """Indices of the classes: "as trained", by recall ("most confused first"), or clustered ("similar ones together")."""
    rates = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if order == "most confused first":
        return np.argsort(rates.diagonal(), kind="stable")
    if order == "similar ones together":
        return _clustered(rates + rates.T)
    return np.arange(len(matrix))


def _clustered(similarity: np.ndarray) -> np.ndarray:
    """The leaves of average-linkage clustering; of two clusters that become one, those ends meet that are most alike.

    Args:
        similarity: (n, n), symmetric; the diagonal does not count.
    """
    np.fill_diagonal(similarity, -np.inf)
    between, sizes = similarity.copy(), np.ones(len(similarity))
    clusters = [[index] for index in range(len(similarity))]
    nearest = between.argmax(axis=1)
    closeness = between.max(axis=1)
    for _ in range(len(similarity) - 1):
        kept = int(closeness.argmax())
        gone = int(nearest[kept])
        left, right = clusters[kept], clusters[gone]
        ways = ((left, right), (left, right[::-1]), (left[::-1], right), (left[::-1], right[::-1]))
        first, second = max(ways, key=lambda way: similarity[way[0][-1], way[1][0]])
        clusters[kept] = first + second
        average = (between[kept] * sizes[kept] + between[gone] * sizes[gone]) / (sizes[kept] + sizes[gone])
        average[[kept, gone]] = -np.inf
        sizes[kept] += sizes[gone]
        between[kept] = between[:, kept] = average
        between[gone] = between[:, gone] = closeness[gone] = -np.inf
        changed = np.flatnonzero((nearest == kept) | (nearest == gone) | (average > closeness))
        changed = changed[closeness[changed] > -np.inf]
        nearest[changed] = between[changed].argmax(axis=1)
        closeness[changed] = between[changed, nearest[changed]]
    return np.array(max(clusters, key=len))


def reliability(calibration: list[tuple[float, float, int]], language: str = "en") -> go.Figure:
    """The share that was right by the probability that the network gave (arXiv:1706.04599).

    Args:
        calibration: (mean probability, share right, images) of each bin that has images.
        language: "en" or "zh".
    """
    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"color": QUIET, "width": 1, "dash": "dash"})
    given, right, images = zip(*calibration)
    figure.add_scatter(
        x=given,
        y=right,
        customdata=images,
        mode="lines+markers",
        line={"color": VALIDATION, "width": 2.5},
        cliponaxis=False,
        marker={"size": [6 + 18 * math.sqrt(count / sum(images)) for count in images]},
        hovertemplate=f"%{{x:.0%}} → %{{y:.0%}}<br>{say(language, '{images} images', images='%{customdata:,}')}<extra></extra>",
    )
    axis = {
        "range": [0, 1],
        "gridcolor": RULE,
        "zeroline": False,
        "tickformat": ".0%",
        "tickfont": {"color": QUIET},
        "fixedrange": True,
        "automargin": True,
        "ticks": "",
        "ticklabelstandoff": 6,
    }
    title = {"font": {"size": 13}, "standoff": 10}
    figure.update_layout(
        **LAYOUT,
        dragmode=False,
        margin={"l": 16, "r": 28, "t": 24, "b": 16},
        xaxis={**axis, "title": {**title, "text": say(language, "probability that the network gave")}},
        yaxis={**axis, "title": {**title, "text": say(language, "share that was right")}},
    )
    return figure


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
