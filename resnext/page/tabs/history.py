"""The tab of learning curves, alone or over those of other models, and of the recipe."""

import functools
import math

import gradio as gr

from resnext.page.charts import as_plot, curve
from resnext.page.i18n import request_language, say, translated
from resnext.page.markup import headline
from resnext.page.models import Model, Models
from resnext.page.records import parse_history, read, recipe_tables

MAX_COMPARED = 4
KINDS = ("loss", "accuracy")


def training_tab(models: Models, in_use: gr.State):
    """Learning curves and the recipe.

    Returns:
        `show(model, language)`, which gives the values of the components that follow it; and those components.
    """
    numbers = gr.HTML()
    with gr.Row(visible=False, elem_classes="controls") as controls:
        others = gr.Dropdown(
            [], multiselect=True, max_choices=MAX_COMPARED, label=translated("Compare with"), min_width=240
        )
        logarithmic = gr.Checkbox(label=translated("Logarithmic loss"), min_width=160)
    with gr.Row():
        plots = [
            gr.Plot(label=translated(kind), show_label=False, elem_classes="curve", min_width=320)
            for kind in KINDS
        ]
    recipe = gr.HTML()

    def show(chosen: Model, language: str):
        history = _history(chosen, language)
        otherwise, tables = (
            "nothing is known of how it was trained",
            functools.partial(recipe_tables, language=language),
        )
        how = chosen.once(
            ("recipe", language), lambda: read(chosen.folder / "recipe.json", tables, otherwise, language)
        )
        if isinstance(history, str):
            return history, gr.Row(visible=False), gr.skip(), gr.skip(), *[gr.Plot(visible=False)] * 2, how
        choices = [name for name in models.sources if name != chosen.plain_name]
        compare = gr.Dropdown(choices=choices, value=[], multiselect=True, visible=bool(choices))
        drawn = [gr.Plot(_curve(chosen, kind, {}, False, language), visible=True) for kind in KINDS]
        return _headline(history, language), gr.Row(visible=True), compare, False, *drawn, how

    def redraw(name: str, compared: list[str], logarithmic: bool, request: gr.Request):
        language, histories = request_language(request), {}
        for other in compared:
            try:
                history = _history(models.get(other), language)
            except gr.Error as error:
                gr.Warning(error.message)
                continue
            if isinstance(history, str):
                gr.Warning(say(language, "{model} has no learning curves to compare with.", model=other))
            else:
                histories[other] = history
        return [_curve(models.get(name), kind, histories, logarithmic, language) for kind in KINDS]

    settings = {"api_visibility": "private", "show_progress": "minimal"}
    gr.on((others.input, logarithmic.input), redraw, (in_use, others, logarithmic), plots, **settings)
    return show, (numbers, controls, others, logarithmic, *plots, recipe)


def _history(model: Model, language: str) -> list[dict[str, float]] | str:
    otherwise = "there are no learning curves to show"
    return model.once(
        ("history", language), lambda: read(model.folder / "history.csv", parse_history, otherwise, language)
    )


def best_row(history: list[dict[str, float]]) -> dict[str, float]:
    """The epoch whose weights were kept: that of the lowest validation loss."""
    finite = [row for row in history if math.isfinite(row["val_loss"])]
    return min(finite, key=lambda row: row["val_loss"], default=history[-1])


def _headline(history: list[dict[str, float]], language: str) -> str:
    best = best_row(history)
    numbers = {
        "best epoch": say(language, "{epoch} of {epochs}", epoch=f"{best['epoch']:.0f}", epochs=len(history)),
        "validation accuracy": f"{best['val_accuracy']:.1%}",
        "validation loss": f"{best['val_loss']:.3f}",
        "training loss": f"{best['loss']:.3f}",
    }
    return headline({say(language, name): text for name, text in numbers.items()})


def _curve(model: Model, kind: str, others: dict[str, list], logarithmic: bool, language: str):
    history = _history(model, language)

    def draw():
        return as_plot(curve(history, kind, best_row(history)["epoch"], others, logarithmic, language))

    return draw() if others else model.once(("curve", kind, logarithmic, language), draw)
