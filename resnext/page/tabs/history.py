"""The tab of the training: learning curves, alone or compared with other models, and the recipe."""

import functools

import gradio as gr

from resnext.page.charts import as_plot, curve
from resnext.page.i18n import request_language, translate, translate_lazy
from resnext.page.markup import headline
from resnext.page.models import Model
from resnext.page.records import parse_epochs, read, recipe_tables
from resnext.page.tabs.contract import Page, Tab
from resnext.results import best_epoch

MAX_COMPARED = 4
KINDS = ("loss", "accuracy")


class HistoryTab(Tab):
    """Learning curves and the recipe."""

    name = "training"
    label = "Training"

    def build(self, page: Page):
        numbers = gr.HTML()
        with gr.Row(visible=False, elem_classes="controls") as controls:
            others = gr.Dropdown(
                [],
                multiselect=True,
                max_choices=MAX_COMPARED,
                label=translate_lazy("Compare with"),
                min_width=240,
            )
            logarithmic = gr.Checkbox(label=translate_lazy("Logarithmic loss axis"), min_width=160)
        with gr.Row():
            plots = [
                gr.Plot(label=translate_lazy(kind), show_label=False, elem_classes="curve", min_width=320)
                for kind in KINDS
            ]
        recipe = gr.HTML()
        gr.on(
            (others.input, logarithmic.input, page.grown.change),
            self.redraw,
            (page.in_use, others, logarithmic),
            plots,
            api_visibility="private",
            show_progress="minimal",
        )
        return numbers, controls, others, logarithmic, *plots, recipe

    def show(self, model: Model, language: str):
        history = _history(model, language)
        recipe = _recipe(model, language)
        if isinstance(history, str):
            return history, gr.Row(visible=False), gr.skip(), gr.skip(), *[gr.Plot(visible=False)] * 2, recipe
        others = self._others(model, value=[])
        plots = [gr.Plot(_curve(model, kind, {}, False, language), visible=True) for kind in KINDS]
        return _headline(history, language), gr.Row(visible=True), others, False, *plots, recipe

    def update(self, model: Model, language: str):
        history = _history(model, language)
        if isinstance(history, str):
            return self.show(model, language)
        # `redraw` draws the curves, with what the visitor has chosen.
        plots = [gr.Plot(visible=True) for _ in KINDS]
        recipe = _recipe(model, language)
        return (
            _headline(history, language),
            gr.Row(visible=True),
            self._others(model),
            gr.skip(),
            *plots,
            recipe,
        )

    def _others(self, model: Model, **value) -> gr.Dropdown:
        choices = [name for name in self.models.sources if name != model.plain_name]
        return gr.Dropdown(choices=choices, multiselect=True, visible=bool(choices), **value)

    def redraw(self, name: str, compared: list[str], logarithmic: bool, request: gr.Request) -> list:
        """The curves of the model in use, with the validation curves of other models.

        Args:
            name: The name of the model in use.
            compared: The names of the other models. Those that have no curves cause a warning.
            logarithmic: Whether the axis of the loss is logarithmic.
            request: Its headers say which language the visitor reads.
        """
        language = request_language(request)
        model = self.models.get(name)
        if isinstance(_history(model, language), str):
            return [gr.skip()] * len(KINDS)
        histories = {}
        for other in compared:
            try:
                history = _history(self.models.get(other), language)
            except gr.Error as error:
                gr.Warning(error.message)
                continue
            if isinstance(history, str):
                gr.Warning(translate(language, "{model} has no learning curves to compare.", model=other))
            else:
                histories[other] = history
        return [_curve(model, kind, histories, logarithmic, language) for kind in KINDS]


def _history(model: Model, language: str) -> list[dict[str, float]] | str:
    """The rows of history.csv, or as HTML why there are none."""
    otherwise = "there are no learning curves to show"
    return model.cached(
        ("history", language),
        lambda: read(model.folder / "history.csv", parse_epochs, otherwise, language),
    )


def _recipe(model: Model, language: str) -> str:
    tables = functools.partial(recipe_tables, language=language)
    otherwise = "its training recipe is unknown"
    return model.cached(
        ("recipe", language), lambda: read(model.folder / "recipe.json", tables, otherwise, language)
    )


def _headline(history: list[dict[str, float]], language: str) -> str:
    best = best_epoch(history)
    numbers = {
        "best epoch": translate(
            language,
            "{epoch} of {epochs}",
            epoch=f"{best['epoch']:.0f}",
            epochs=f"{history[-1]['epoch']:.0f}",
        ),
        "validation accuracy": f"{best['val_accuracy']:.1%}",
        "validation loss": f"{best['val_loss']:.3f}",
        "training loss": f"{best['loss']:.3f}",
    }
    return headline({translate(language, name): text for name, text in numbers.items()})


def _curve(model: Model, kind: str, others: dict[str, list], logarithmic: bool, language: str):
    history = _history(model, language)

    def draw():
        return as_plot(curve(history, kind, best_epoch(history)["epoch"], others, logarithmic, language))

    return draw() if others else model.cached(("curve", kind, logarithmic, language), draw)
