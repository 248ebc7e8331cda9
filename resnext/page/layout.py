"""The page's layout: its header, the list of models and the tabs, filled when they are opened."""

import html
import os
from collections.abc import Callable
from typing import Any

import gradio as gr

from resnext.page.header import facts, masthead, notice
from resnext.page.i18n import request_language, say, translated
from resnext.page.models import Models
from resnext.page.tabs.batch import batch_tab
from resnext.page.tabs.card import card_tab
from resnext.page.tabs.classify import classify_tab
from resnext.page.tabs.evaluation import test_tab
from resnext.page.tabs.history import training_tab
from resnext.page.tabs.inside import inside_tab
from resnext.page.uploads import limit_downloads

PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
# The address says what is shown, once the page has opened what the address said.
_TELL_ADDRESS = """
(value) => {
  if (window.pageIsOpen) {
    const address = new URL(location);
    address.searchParams.set('%s', value);
    history.replaceState(null, '', address);
  }
  return [value];
}"""
_COPY_LINK = "() => navigator.clipboard.writeText(location.href)"


def build_page(models: Models, warning: str = "") -> gr.Blocks:
    """The whole page.

    Args:
        models: what a visitor may choose; the first one is open.
        warning: what a visitor has to know before all else, as plain text.
    """
    first = models.open(None)
    several = len(models.names()) > 1 or models.allow_any
    with gr.Blocks(title=f"{first.name} · ResNeXt", fill_width=True, delete_cache=(600, 3600)) as page:
        with gr.Row(equal_height=False, elem_classes="top"):
            head = gr.HTML(masthead(first), scale=1, min_width=320)
            with gr.Column(scale=0, min_width=360 if several else 100), gr.Row(elem_classes="choice"):
                model = gr.Dropdown(
                    models.names(),
                    value=first.name,
                    label=translated("Model"),
                    filterable=models.allow_any,
                    allow_custom_value=models.allow_any,
                    visible=several,
                    min_width=240,
                )
                link = gr.Button(translated("Copy link"), size="sm", min_width=90, scale=0)
        note = gr.HTML(_note(warning or notice(first)))
        in_use, opened = gr.State(first.name), gr.State("classify")
        fills = {}
        with gr.Tabs(overflow_behavior="wrap") as tabs:  # a phone shows all of them
            with gr.Tab(translated("Classify"), id="classify") as tab:
                show_examples, examples, classify_again = classify_tab(models, model, in_use)
                fills["classify"] = (tab, show_examples, examples)
            with gr.Tab(translated("Batch"), id="batch") as tab:
                results = batch_tab(models, in_use)
                fills["batch"] = (
                    tab,
                    lambda chosen, language: ("", gr.DownloadButton(visible=False)),
                    results,
                )
            with gr.Tab(translated("Training"), id="training") as tab:
                fills["training"] = (tab, *training_tab(models, in_use))
            with gr.Tab(translated("Test"), id="test") as tab:
                fills["test"] = (tab, *test_tab(models, in_use))
            with gr.Tab(translated("Inside ResNeXt"), id="inside") as tab:
                show_lesson, lesson = inside_tab()
                fills["inside"] = (tab, lambda chosen, language: show_lesson(language), lesson)
            with gr.Tab(translated("Model card"), id="card") as tab:
                fills["card"] = (tab, *card_tab())

        def choose(name: str | None, request: gr.Request, progress=gr.Progress(track_tqdm=True)):
            progress(0, say(request_language(request), "Opening {model}", model=name))
            chosen = models.get(name, request_language(request))
            names = gr.Dropdown(choices=models.names(chosen), value=chosen.name)
            return (
                names,
                chosen.name,
                masthead(chosen, request_language(request)),
                _note(notice(chosen, request_language(request))),
            )

        picked = (
            model.input if models.allow_any else model.select
        )  # input comes twice for a choice from the list (6.31)
        switched = picked(
            choose, model, (model, in_use, head, note), api_visibility="private", show_progress_on=head
        )
        switched.failure(lambda used: used, in_use, model, queue=False, **PRIVATE)
        switched.success(None, model, None, js=_TELL_ADDRESS % "model", **PRIVATE)
        classify_again(switched)

        def arrive(request: gr.Request, progress=gr.Progress(track_tqdm=True)):
            asked, language = request.query_params.get("model"), request_language(request)
            if language == "en" and asked in (None, first.name):
                return gr.Dropdown(choices=models.names()), *[gr.skip()] * 3
            names, name, top, told = choose(asked or first.name, request, progress)
            return names, name, top, _note(warning) if warning and name == first.name else told

        arrived = page.load(
            arrive, None, (model, in_use, head, note), api_visibility="private", show_progress_on=head
        )

        def open_tab(request: gr.Request):
            asked = request.query_params.get("tab")
            return gr.Tabs(selected=asked) if asked in fills else gr.skip()

        opening = page.load(open_tab, None, tabs, queue=False, **PRIVATE)
        opening.then(None, None, None, js="() => { window.pageIsOpen = true; }", **PRIVATE)
        for name, (tab, show, outputs) in fills.items():
            filled = gr.State()
            fill = _filler(models, name, show, len(outputs))
            tab.select(fill, (in_use, filled), (opened, filled, *outputs), queue=False, **PRIVATE)
            for event in (switched, arrived):
                event.success(
                    fill, (in_use, filled, opened), (opened, filled, *outputs), queue=False, **PRIVATE
                )
            tab.select(
                None, None, None, js=_TELL_ADDRESS.replace("value", f"value = '{name}'", 1) % "tab", **PRIVATE
            )
        link.click(None, None, None, js=_COPY_LINK, **PRIVATE)

        def model_info(model: str = "") -> dict[str, Any]:
            """Tell what a model is.

            Args:
                model: one of the models that the page offers; its own if left out.

            Returns:
                Name, revision, architecture, cardinality, bottleneck width, parameters, image size, precision and classes.
            """
            return facts(models.get(model))

        gr.api(model_info, queue=False)
    limit_downloads(page)
    # More at once than there are cores would not be served sooner; one waits for the disk or the Hub.
    return page.queue(max_size=64, default_concurrency_limit=max(2, os.cpu_count() or 2))


def _filler(models: Models, tab: str, show: Callable, count: int) -> Callable:
    """A function that fills a tab for a model in a language, unless it shows that already or another tab is open."""

    def fill(name: str, filled: tuple | None, opened: str | None = None, request: gr.Request = None):
        state = (name, request_language(request))
        if opened not in (None, tab):
            return [gr.skip()] * (count + 2)
        if state == filled:
            return [tab, *[gr.skip()] * (count + 1)]
        return [tab, state, *show(models.get(name), request_language(request))]

    return fill


def _note(text: str) -> str:
    return f'<p class="notice" role="status">{html.escape(text)}</p>' if text else ""
