"""The web page: classify photographs with a ResNeXt from the Hugging Face Hub, and see how it was trained and tested."""

import csv
import html
import json
import math
import pathlib
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import gradio as gr
import numpy as np
import plotly.graph_objects as go
import typer
from huggingface_hub import constants

from resnext.classifier import Classifier
from resnext.command import run
from resnext.errors import ImageError, ResNeXtError
from resnext.network_shapes import network_modules

MOST_EXAMPLES = 24
MOST_BYTES = 64 * 2**20  # of a file that the Training and Test tabs read
MOST_COUNTED_CLASSES, MOST_NAMED_CLASSES = 12, 25  # heatmaps with counts in the cells, with names at the axes
NUMBERS = ("precision", "recall", "F1", "images", "probability")  # columns of tables, set to the right
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")

# The colours of training/figures.py; CSS turns each into its counterpart for a dark page.
INK, QUIET, RULE, TRAINING, VALIDATION = "#222222", "#6B6B6B", "#DDDDDD", "#EE7733", "#004488"
# A cell's blue lies over the page, light or dark; its opacity is the square root of the rate: rare confusions show.
RATES = [[rate, f"rgba(43, 116, 184, {math.sqrt(rate):.3f})"] for rate in (0, 0.01, 0.04, 0.1, 0.2, 0.4, 0.7, 1)]
LAYOUT = {
    "template": "none",
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"color": INK, "family": "system-ui, sans-serif", "size": 13},
    "hoverlabel": {"bgcolor": "white", "bordercolor": RULE, "font": {"color": INK, "family": "system-ui, sans-serif"}},
}

BLUE = gr.themes.Color(
    "#F0F6FC", "#DCEAF7", "#C6DBEF", "#98C2E6", "#5B9BD0", "#2B74B8", "#1D5F9E", "#004488", "#00366D", "#00264D", "#001A36"
)  # fmt: skip
THEME = gr.themes.Default(
    primary_hue=BLUE,
    secondary_hue=BLUE,
    neutral_hue=gr.themes.colors.gray,
    radius_size=gr.themes.sizes.radius_lg,
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(
    body_background_fill="*neutral_50",
    body_text_color_subdued="*neutral_600",
    stat_background_fill="*primary_500",
    stat_background_fill_dark="*primary_500",
    block_border_width="1px",
    block_shadow="none",
)
CSS = """
.gradio-container > .main { max-width: 1120px; margin: 0 auto; }
.dark { --color-accent: var(--primary-400); --link-text-color: var(--primary-400); }
.html-container { padding: 0 !important; }
button:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--color-accent) !important; outline-offset: -2px; }
footer .divider { display: none; }
.masthead { padding: .5rem 0 0; }
.masthead h1 { font-size: clamp(1.6rem, 6vw, 2.25rem); line-height: 1.15; font-weight: 700; letter-spacing: -.02em;
  margin: 0 0 .7rem; overflow-wrap: anywhere; }
.masthead ul { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; margin: 0; padding: 0; }
.masthead li { margin: 0; padding: .15rem .7rem; border-radius: 99px; font-size: .8125rem; overflow-wrap: anywhere;
  background: var(--block-background-fill); border: 1px solid var(--border-color-primary); color: var(--body-text-color-subdued); }
.masthead li a { color: var(--link-text-color); text-decoration: none; padding: 0; }
.masthead li a:hover { text-decoration: underline; }
.notice { margin: 0; padding: .75rem 1rem; border-radius: var(--radius-lg); border-left: 4px solid #EE7733; overflow-wrap: anywhere;
  background: color-mix(in srgb, #EE7733 14%, var(--block-background-fill)); color: var(--body-text-color); }
.missing { padding: 2.5rem 1rem; text-align: center; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.quiet { color: var(--body-text-color-subdued); font-size: .8125rem; white-space: pre-line; overflow-wrap: anywhere; }
.seconds { text-align: right; margin: -.6rem .2rem 0 0; }
.confidence-set * { font-family: var(--font); }
.gallery-item img { width: 84px !important; height: 84px !important; object-fit: cover; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: var(--layout-gap); margin: 0; }
.figures div { padding: .8rem 1.1rem; }
.figures div, .scroll { background: var(--block-background-fill);
  border: 1px solid var(--border-color-primary); border-radius: var(--block-radius); }
.figures dt { color: var(--body-text-color-subdued); font-size: .8125rem; }
.figures dd { margin: 0; font-size: 1.6rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  gap: 1.5rem var(--layout-gap); align-items: start; }
.title { font-size: 1.05rem; font-weight: 650; margin: 0 0 .5rem; }
.scroll { overflow: auto; }
.scroll:has(thead) { max-height: 36rem; }
.scroll table { width: 100%; border-collapse: collapse; margin: 0; font-size: .875rem; font-variant-numeric: tabular-nums; }
.scroll table, .scroll thead, .scroll tbody, .scroll tr { border: 0 !important; }
.scroll th, .scroll td { border: 0 !important; padding: .45rem .7rem; text-align: left; overflow-wrap: anywhere; }
.scroll td:not(.number) { min-width: 6.5rem; }
.scroll td, .scroll tbody th { border-top: 1px solid var(--border-color-primary) !important; }
.scroll table > tbody:first-child > tr:first-child > * { border-top: 0 !important; }
.scroll thead th { position: sticky; top: 0; background: var(--background-fill-secondary); font-weight: 600; }
.scroll tbody th { font-weight: 400; color: var(--body-text-color-subdued); }
.scroll .number { text-align: right !important; white-space: nowrap; }
.right, .wrong { white-space: nowrap; font-weight: 600; }
.right { color: #15803D; } .dark .right { color: #4ADE80; }
.wrong { color: #C2410C; } .dark .wrong { color: #FB923C; }
.curve [data-testid=plotly] { aspect-ratio: 5 / 4; }
.heatmap [data-testid=plotly] { aspect-ratio: 1; }
.js-plotly-plot .modebar { display: none; }
@media (max-width: 640px) { .curve [data-testid=plotly] { aspect-ratio: 4 / 5; } .photograph { height: 280px !important; } }
.dark .js-plotly-plot [style*="fill: rgb(34, 34, 34)"] { fill: #E4E4E7 !important; }
.dark .js-plotly-plot [style*="fill: rgb(107, 107, 107)"] { fill: #A1A1AA !important; }
.dark .js-plotly-plot [style*="stroke: rgb(107, 107, 107)"] { stroke: #A1A1AA !important; }
.dark .js-plotly-plot [style*="stroke: rgb(221, 221, 221)"] { stroke: #3F3F46 !important; }
.dark .js-plotly-plot [style*="fill: rgb(0, 68, 136)"] { fill: #7DB3EC !important; }
.dark .js-plotly-plot [style*="stroke: rgb(0, 68, 136)"] { stroke: #7DB3EC !important; }
.dark .js-plotly-plot .hoverlayer [style*="fill: rgb(255, 255, 255)"] { fill: #27272A !important; }
"""


def build_page(classifier: Classifier, notice: str | None = None) -> gr.Blocks:
    """The whole page.

    Args:
        classifier: opened from a model repository, whose files the page shows.
        notice: what a visitor has to know before all else, as plain text.
    """
    folder = classifier.repository.folder
    with gr.Blocks(title=f"{_title(classifier)} · ResNeXt", fill_width=True, delete_cache=(3600, 3600)) as page:
        gr.HTML(masthead(classifier))
        if notice:
            gr.HTML(f'<p class="notice" role="status">{html.escape(notice)}</p>')
        with gr.Tab("Classify"):
            classify_tab(classifier, folder / "examples")
        with gr.Tab("Training"):
            training_tab(folder)
        with gr.Tab("Test"):
            test_tab(folder)
    return page.queue(max_size=64, default_concurrency_limit=4)


def _title(classifier: Classifier) -> str:
    repository = classifier.repository
    return repository.name if repository.revision else repository.folder.resolve().name


def masthead(classifier: Classifier) -> str:
    """The model's name and what it is, as HTML."""
    config, repository = classifier.config, classifier.repository
    architecture, size = config.architecture, config.preprocessing.image_size
    parameters = sum(module.parameters for module in network_modules(architecture, config.num_classes))
    facts = [
        config.name,
        f"cardinality {architecture.cardinality}, bottleneck width {architecture.base_width}",
        f"{parameters / 1e6:.1f} M parameters",
        f"{size} × {size} pixels",
        f"{config.num_classes:,} classes",
    ]
    items = [html.escape(fact) for fact in facts]
    if repository.revision:
        address = html.escape(f"{constants.ENDPOINT}/{repository.name}/tree/{repository.revision}")
        items.append(f'<a href="{address}" target="_blank" rel="noopener">on the Hub at {repository.revision[:7]}</a>')
    chips = "".join(f"<li>{item}</li>" for item in items)
    title = html.escape(_title(classifier)).replace("/", "/<wbr>")
    return f'<header class="masthead"><h1>{title}</h1><ul>{chips}</ul></header>'


def classify_tab(classifier: Classifier, examples: pathlib.Path) -> None:
    """A photograph on the left, its likeliest classes on the right, examples beneath."""

    def classify(image: str | None, top_k: float = 5) -> tuple[dict[str, float], float]:
        """Classify an image.

        Args:
            image: a photograph's file.
            top_k: how many classes to name, from 1 to 10.

        Returns:
            The likeliest classes, likeliest first, with their probabilities.
        """
        if image is None:
            return {}, 0.0
        start = time.perf_counter()
        try:
            predictions = classifier(image, int(top_k))
        except ImageError as error:
            message = str(error).replace(image, pathlib.Path(image).name)
            raise gr.Error(html.escape(message, quote=False), print_exception=False) from None
        confidences = {}
        for prediction in predictions:  # two classes may have one name: the likelier counts
            confidences.setdefault(prediction.label, prediction.probability)
        return confidences, time.perf_counter() - start

    with gr.Row():
        with gr.Column(min_width=320):
            photograph = gr.Image(
                label="Photograph", type="filepath", height=400, elem_classes="photograph", buttons=["fullscreen"]
            )
            # Gradio would decode the file itself, and fail on what is no image before `open_image` can say why.
            photograph.preprocess = lambda upload: upload and upload.path
            example_gallery(examples, photograph)
        with gr.Column(min_width=320):
            bars = gr.Label(label="Likeliest classes")
            took = gr.HTML()
            top_k = gr.Slider(1, 10, value=5, step=1, label="Classes to name")
            seconds = gr.State(0.0)
    classified = gr.on(
        (photograph.change, top_k.change), classify, (photograph, top_k), (bars, seconds),
        api_name="classify", show_progress="minimal",
    )  # fmt: skip
    classified.failure(lambda: None, outputs=photograph, api_visibility="private", show_progress="hidden")
    seconds.change(
        lambda taken: f'<p class="quiet seconds">{f"{1000 * taken:.0f} ms" if taken else ""}</p>',
        seconds, took, api_visibility="private", show_progress="hidden",
    )  # fmt: skip


def example_gallery(examples: pathlib.Path, photograph: gr.Image) -> None:
    """The repository's examples, if it has any, each a button that puts it in the place of the photograph."""
    files = sorted(file for file in examples.glob("*") if file.suffix.lower() in IMAGE_SUFFIXES)[:MOST_EXAMPLES]
    if not files:
        return
    gallery = gr.Dataset(
        label="Examples", components=[photograph], samples=[[str(file)] for file in files], type="index",
        samples_per_page=MOST_EXAMPLES,
    )  # fmt: skip
    # Gradio has copied them to its cache: it need not be allowed to serve the repository's folder. (gr.Examples would
    # replace the photograph's component for this visitor, `preprocess` and all.)
    copies = [sample["path"] for (sample,) in gallery.samples]
    gallery.click(lambda index: copies[index], gallery, photograph, api_visibility="private", show_progress="hidden")
    credits = examples / "CREDITS.md"
    if credits.is_file():
        text = credits.read_text("utf-8", errors="replace").strip()
        gr.HTML(f'<details class="quiet"><summary>Credits</summary>{html.escape(text)}</details>')


def training_tab(folder: pathlib.Path) -> None:
    """Learning curves and the recipe."""
    history = _read(folder / "history.csv", parse_history, "there are no learning curves to show")
    if isinstance(history, str):
        gr.HTML(history)
    else:
        finite = [row for row in history if math.isfinite(row["val_loss"])]
        best = min(finite, key=lambda row: row["val_loss"], default=history[-1])
        gr.HTML(
            headline({
                "best epoch": f"{best['epoch']:.0f} of {len(history)}",
                "validation accuracy": f"{best['val_accuracy']:.1%}",
                "validation loss": f"{best['val_loss']:.3f}",
                "training loss": f"{best['loss']:.3f}",
            })
        )  # fmt: skip
        with gr.Row():
            for name in ("loss", "accuracy"):
                figure = curve(history, name, best["epoch"])
                gr.Plot(figure, label=name, show_label=False, elem_classes="curve", min_width=320)
    gr.HTML(_read(folder / "recipe.json", recipe_tables, "nothing is known of how it was trained"))


def test_tab(folder: pathlib.Path) -> None:
    """What the network gets right and wrong on images that it has never seen."""
    evaluation = _read(folder / "evaluation.json", parse_evaluation, "there is no test to show")
    if isinstance(evaluation, str):
        gr.HTML(evaluation)
        return
    gr.HTML(headline(evaluation["numbers"]))
    with gr.Row():
        figure = heatmap(evaluation["confusion_matrix"], evaluation["classes"])
        gr.Plot(figure, label="Confusion matrix", show_label=False, elem_classes="heatmap", min_width=320)
        with gr.Column(min_width=320):
            gr.HTML(table("Per class", ("class", "precision", "recall", "F1", "images"), evaluation["per_class"]))
    gr.HTML(table("First predictions", ("file", "true", "predicted", "probability", ""), evaluation["predictions"]))


def _read(path: pathlib.Path, parse: Callable[[str], Any], otherwise: str) -> Any:
    """What `parse` makes of a file, or a sentence as HTML if the repository has none or a broken one."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        return parse(path.read_text("utf-8"))
    except FileNotFoundError:
        reason = f"This repository has no {path.name}, so {otherwise}."
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, csv.Error) as error:
        reason = f"The {path.name} of this repository cannot be read ({type(error).__name__}: {error}), so {otherwise}."
    return f'<p class="missing">{html.escape(reason)}</p>'


def _from_json(text: str) -> Any:
    values = json.loads(text)
    json.dumps(values, ensure_ascii=False).encode()  # raises ValueError for half characters, which no page can be sent
    return values


def parse_history(text: str) -> list[dict[str, float]]:
    """The rows of history.csv; a NaN leaves a gap in the curves."""
    rows = [{name: float(row[name]) for name in HISTORY_COLUMNS} for row in csv.DictReader(text.splitlines())]
    if not rows:
        raise ValueError("it has no rows")
    return rows


def parse_evaluation(text: str) -> dict[str, Any]:
    """evaluation.json, its tables as rows of text and numbers.

    Returns:
        numbers (texts by name), classes (texts), confusion_matrix (classes, classes) int64, per_class and predictions
        (rows of cells).
    """
    values = _from_json(text)
    classes = [str(label) for label in values["classes"]]
    matrix = np.array(values["confusion_matrix"], np.int64)
    if not classes or matrix.shape != (len(classes), len(classes)) or matrix.min() < 0:
        raise ValueError(f"its confusion matrix does not fit {len(classes)} classes")
    shown = {
        "top1": ("top-1 accuracy", ".1%"), "top5": ("top-5 accuracy", ".1%"), "loss": ("loss", ".3f"), "samples": ("images", ",.0f")
    }  # fmt: skip
    numbers = {name: format(float(values[key]), form) for key, (name, form) in shown.items() if values.get(key) is not None}
    per_class = [
        (str(row["label"]), *(f"{float(row[key]):.3f}" for key in ("precision", "recall", "f1")), f"{row['support']:,d}")
        for row in values["per_class"]
    ]
    predictions = [
        (str(row["file"]), str(row["true"]), str(row["predicted"]), f"{float(row['probability']):.1%}",
         "✓ right" if row["true"] == row["predicted"] else "✗ wrong")
        for row in values["predictions"][:10]
    ]  # fmt: skip
    tables = {"per_class": per_class, "predictions": predictions}
    return {"numbers": numbers, "classes": classes, "confusion_matrix": matrix, **tables}


def recipe_tables(text: str) -> str:
    """recipe.json as HTML tables: the settings, the data set, the versions and the machine."""
    values = _from_json(text)
    dataset, images = values["dataset"], values["dataset"]["images"]
    data = {"name": dataset["name"], **{f"{split} images": count for split, count in images.items()}}
    data |= {"fingerprint": dataset["fingerprint"][:12]}
    machine = {**values["versions"], "hardware": values["hardware"]}
    sections = {"Recipe": values["recipe"], "Data set": data, "Software and hardware": machine}
    tables = [
        table(title, (), [(key.replace("_", " "), _as_text(value)) for key, value in section.items()])
        for title, section in sections.items()
    ]
    return f'<div class="tables">{tables[0]}<div class="tables">{"".join(tables[1:])}</div></div>'


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    return f"{value:,g}" if isinstance(value, float) else str(value)


def headline(numbers: dict[str, str]) -> str:
    """Numbers to see first, as HTML."""
    items = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>" for name, text in numbers.items())
    return f'<dl class="figures">{items}</dl>'


def table(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """An HTML table that scrolls in its own frame; without a header, the first column names the rows."""

    def cell(tag: str, column: int, text: str) -> str:
        kind = {"✓": "right", "✗": "wrong"}.get(text[:1], "number" if header and header[column] in NUMBERS else "")
        breakable = html.escape(text).replace("/", "/<wbr>")
        return f'<{tag} class="{kind}">{breakable}</{tag}>'

    def row(cells: tuple[str, ...], first: str, other: str) -> str:
        return f"<tr>{''.join(cell(other if column else first, column, text) for column, text in enumerate(cells))}</tr>"

    head = f"<thead>{row(header, 'th', 'th')}</thead>" if header else ""
    body = "".join(row(cells, "td" if header else "th", "td") for cells in rows)
    name = html.escape(title)
    return (
        f'<section><h2 class="title">{name}</h2><div class="scroll" tabindex="0" role="region" aria-label="{name}">'
        f"<table>{head}<tbody>{body}</tbody></table></div></section>"
    )


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


def open_model(model: str | None) -> tuple[Classifier, str | None]:
    """The model asked for, or the bundled one if that cannot be had; and a notice for the page."""
    try:
        classifier = Classifier.from_pretrained(model)
    except ResNeXtError as error:
        if model is None:
            raise
        message = re.sub(r"(?<!\S)/\S*/", "", str(error))  # visitors need not know the server's folders
        return Classifier.from_pretrained(), f"{message} Until then, this page shows the bundled model."
    if classifier.repository.stale:
        revision = classifier.repository.revision[:7]
        return classifier, f"The Hub cannot be reached: this is the copy downloaded last, at commit {revision}."
    return classifier, None


def serve(page: gr.Blocks, host: str | None = None, port: int | None = None, **options) -> tuple[Any, str, str]:
    """Puts the page on the network; host and port are Gradio's (its environment variables, too) if left out."""
    return page.launch(
        server_name=host, server_port=port, theme=THEME, css=CSS, footer_links=["api"], max_file_size="64mb",
        ssr_mode=False, run_history=False, enable_monitoring=False, **options,
    )  # fmt: skip


command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@command.command()
def main(
    model: Annotated[
        str | None,
        typer.Option(envvar="RESNEXT_MODEL", help="Folder or Hub repository (OWNER/NAME); the bundled flowers if left out."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, 0.0.0.0 for all; GRADIO_SERVER_NAME or 127.0.0.1 if left out.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="GRADIO_SERVER_PORT or the first free from 7860 if left out.")
    ] = None,
):
    """Show a web page that classifies photographs with a ResNeXt and tells how it was trained and tested."""
    classifier, notice = open_model(model or None)
    if notice:
        print(f"app.py: {notice}", file=sys.stderr)
    serve(build_page(classifier, notice), host, port)


if __name__ == "__main__":
    run(command, "app.py")
