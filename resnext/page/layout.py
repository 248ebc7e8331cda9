"""The page's layout: its header, the list of models and the tabs, filled when they are opened."""

import html
import os
from typing import Any

import gradio as gr

from resnext.page.header import facts, masthead, notice
from resnext.page.i18n import request_language, translate, translate_error, translate_lazy
from resnext.page.models import BUNDLED_NAME, Model, Models, is_hub_id
from resnext.page.programs import accept_programs
from resnext.page.tabs.batch import BatchTab
from resnext.page.tabs.card import CardTab
from resnext.page.tabs.classify import ClassifyTab
from resnext.page.tabs.contract import PRIVATE, UNQUEUED, Page, Tab
from resnext.page.tabs.evaluation import EvaluationTab
from resnext.page.tabs.history import HistoryTab
from resnext.page.tabs.inside import InsideTab
from resnext.page.tabs.teach import TeachTab
from resnext.page.theme import read_static
from resnext.page.uploads import limit_downloads, type_images

TABS: tuple[type[Tab], ...] = (
    ClassifyTab,
    BatchTab,
    TeachTab,
    HistoryTab,
    EvaluationTab,
    InsideTab,
    CardTab,
)
_UPDATE_ADDRESS = read_static("update_address.js")
# Shows the download of a model.
_PROGRESS = gr.Progress(track_tqdm=True)
_COPY_LINK = read_static("copy_link.js")
# Seconds between looks whether the page's default model is open, while another one stands in.
_LOOK_AGAIN = 5
# Seconds between looks at the run that the page follows.
_LOOK_AT_RUN = 3
# Gradio leaves the document's language at "en". The words are those of `request_language`.
_SET_LANGUAGE = "() => { if (/^zh/i.test(navigator.language)) document.documentElement.lang = 'zh-CN'; }"
_PAGE_IS_OPEN = "() => { window.pageIsOpen = true; }"


def build_page(models: Models, *, teach: bool = True) -> gr.Blocks:
    """Builds the whole page.

    Args:
        models: The models that a visitor may choose. The first one is opened, or what stands in for it.
        teach: Whether visitors may teach classes of their own.
    """
    header = Header(models)
    tabs = [tab(models) for tab in TABS if teach or tab is not TeachTab]
    with gr.Blocks(title=f"{models.first} · ResNeXt", fill_width=True, delete_cache=(600, 3600)) as page:
        header.build()
        # On a phone, the tabs wrap to a second line.
        with gr.Tabs(overflow_behavior="wrap") as bar:
            containers = [tab.place(header.page) for tab in tabs]
        arrived = page.load(
            header.arrive, None, header.outputs, api_visibility="private", show_progress_on=header.head
        )
        opening = page.load(selected_tab, None, bar, **UNQUEUED)
        opening.then(None, None, None, js=_PAGE_IS_OPEN, **PRIVATE)
        page.load(None, None, None, js=_SET_LANGUAGE, **PRIVATE)
        page.load(None, None, None, js=type_images(), **PRIVATE)
        opened = gr.State(tabs[0].name)
        for tab, container in zip(tabs, containers):
            filled = gr.State()
            outputs = (opened, filled, *tab.outputs)
            container.select(tab.fill, (header.in_use, filled), outputs, **UNQUEUED)
            page_events = header.page.switched.success, header.recovered.change, header.grown.change
            for event in (*page_events, arrived.success):
                event(tab.fill, (header.in_use, filled, opened), outputs, **UNQUEUED)
            update = f"() => ({_UPDATE_ADDRESS})('tab', '{tab.name}')"
            container.select(None, None, None, js=update, **PRIVATE)
        if models.run:
            page.load(header.follow, *header.following, **PRIVATE)
        gr.api(header.model_info, queue=False)
    limit_downloads(page)
    accept_programs(page)
    # More events at once than cores would not finish sooner. On one core, one of two waits for disk or Hub.
    return page.queue(max_size=64, default_concurrency_limit=max(2, os.cpu_count() or 2))


class Header:
    """The page's top: the model that is shown, the list of models, and a notice.

    Args:
        models: The models that the page offers.
    """

    def __init__(self, models: Models):
        self.models = models
        self._built: tuple = ()
        self.following: tuple = ()

    def build(self) -> None:
        """Makes the components and connects their events."""
        first = self.models.open(None)
        self._built = (first.name, first.version)
        several = len(self.models.names()) > 1 or self.models.allow_any
        with gr.Row(equal_height=False, elem_classes="top"):
            self.head = gr.HTML(masthead(first), scale=1, min_width=320)
            with gr.Column(scale=0, min_width=360 if several else 100), gr.Row(elem_classes="choice"):
                choice = gr.Dropdown(
                    self.models.names(),
                    # Programs that name no model get the default, even if it is opened later.
                    value=None if self._stands_in(first) else first.name,
                    label=translate_lazy("Model"),
                    filterable=self.models.allow_any,
                    allow_custom_value=self.models.allow_any,
                    visible=several,
                    min_width=240,
                )
                link = gr.Button(translate_lazy("Copy link"), size="sm", min_width=90, scale=0)
        note = gr.HTML(self._notice(first, "en"))
        self.grown = gr.State(0)
        # None, for programs: the page's default model, which may change.
        self.in_use = gr.State()
        self.waiting = gr.Timer(_LOOK_AGAIN, active=False)
        self.recovered = gr.State(0)
        self.outputs = (choice, self.in_use, self.head, note, self.waiting)
        # With Gradio 6.31, `input` fires twice when an option of the list is chosen: once for that, and once
        # for the loss of focus, which also ends the typing of a name.
        chosen = choice.blur if self.models.allow_any else choice.select
        switched = chosen(
            self.switch, choice, self.outputs, api_visibility="private", show_progress_on=self.head
        )
        switched.failure(previous_model, self.in_use, choice, **UNQUEUED)
        update = f"value => ({_UPDATE_ADDRESS})('model', value)"
        switched.success(None, choice, None, js=update, **PRIVATE)
        link.click(confirm_copy, gr.Textbox(visible=False), None, js=_COPY_LINK, **PRIVATE)
        # In the queue: only then does Gradio notice that a state has changed.
        self.waiting.tick(
            self.recover, (self.in_use, self.recovered), (*self.outputs, self.recovered), **PRIVATE
        )
        self.page = Page(choice, self.in_use, switched, self.recovered, self.grown)
        if self.models.run:
            line = gr.HTML(self._run_line("en"))
            seen = gr.State()
            self.following = (self.in_use, seen, self.grown), (line, seen, self.grown)
            gr.Timer(_LOOK_AT_RUN).tick(self.follow, *self.following, **PRIVATE)

    def switch(self, name: str | None, request: gr.Request, progress: gr.Progress = _PROGRESS) -> tuple:
        """Opens a model.

        Returns:
            The list of models, the model's name, the masthead, the notice, and the timer that looks whether
            the page's default model can be opened by now.
        """
        language = request_language(request)
        progress(0, translate(language, "Opening {model}", model=name))
        model = self.models.get(name, language)
        names = gr.Dropdown(choices=self.models.names(model), value=model.name)
        waiting = gr.Timer(active=self._stands_in(model) and self._may_open_later())
        return names, model.name, masthead(model, language), self._notice(model, language), waiting

    def arrive(self, request: gr.Request, progress: gr.Progress = _PROGRESS) -> tuple:
        """Opens the model that the page's address asks for, and returns what `switch` returns."""
        asked = request.query_params.get("model")
        first = self.models.open(None)
        # The model that the address asks for is shown as soon as it can be.
        if self.models.warning and asked == self.models.first:
            asked = None
        shown = (first.name, first.version) == self._built and not self.models.warning
        if shown and request_language(request) == "en" and asked in (None, first.name):
            return gr.Dropdown(choices=self.models.names()), first.name, *[gr.skip()] * 3
        return self.switch(asked or first.name, request, progress)

    def recover(self, in_use: str | None, recovered: int, request: gr.Request) -> tuple:
        """Shows the page's default model to a visitor who still sees what stood in for it."""
        if self.models.warning:
            return (gr.skip(),) * 6
        if in_use != BUNDLED_NAME:
            return *[gr.skip()] * 4, gr.Timer(active=False), gr.skip()
        return *self.switch(self.models.first, request, lambda *progress: None), recovered + 1

    def follow(self, in_use: str | None, seen: tuple | None, grown: int, request: gr.Request) -> tuple:
        """Shows how far the followed run has come.

        Args:
            in_use: The name of the model that the visitor sees.
            seen: The state of the run that the page shows.
            grown: A number that changes when the page has to show a later state.
            request: Its headers say which language the visitor reads.

        Returns:
            The sentence about the run as HTML, the state that the page shows now, and the number.
        """
        line = self._run_line(request_language(request))
        if in_use != self.models.first or self.models.warning:
            return line, gr.skip(), gr.skip()
        version = self.models.open(None).version
        if version == seen:
            return line, gr.skip(), gr.skip()
        return line, version, grown + 1

    def _run_line(self, language: str) -> str:
        run = self.models.run
        # The time that is left changes too often for screen readers to announce it.
        role = "" if run.status.state == "training" else ' role="status"'
        kind = "notice" if run.status.state in ("interrupted", "untested") else "quiet"
        return f'<p class="run {kind}"{role}>{html.escape(run.in_words(language))}</p>'

    def _may_open_later(self) -> bool:
        return self.models.run is not None or is_hub_id(self.models.first)

    def _stands_in(self, model: Model) -> bool:
        return bool(self.models.warning) and model.name == self.models.default

    def _notice(self, model: Model, language: str) -> str:
        if self._stands_in(model):
            return _notice_html(translate_error(language, self.models.warning))
        return _notice_html(notice(model, language))

    def model_info(self, model: str = "") -> dict[str, Any]:
        """Describe a model.

        Args:
            model: The name of a model that the page offers; the page's first model if left out.

        Returns:
            Name, revision, architecture, cardinality, bottleneck width, parameters, image size,
            precision and classes.
        """
        return facts(self.models.get(model))


def previous_model(in_use: str | None):
    """The value of the list of models after a model could not be opened: the name of the one in use."""
    return in_use or gr.skip()


def confirm_copy(address: str, request: gr.Request) -> None:
    """Says that the page's address was copied, or shows the address that the browser did not copy."""
    language = request_language(request)
    if address:
        text = translate(language, "Copy this address: {address}", address=address)
        gr.Info(html.escape(text, quote=False), duration=None)
    else:
        gr.Info(translate(language, "The link was copied."), duration=3)


def selected_tab(request: gr.Request):
    """Opens the tab that the page's address asks for."""
    asked = request.query_params.get("tab")
    return gr.Tabs(selected=asked) if asked in {tab.name for tab in TABS} else gr.skip()


def _notice_html(text: str) -> str:
    return f'<p class="notice" role="status">{html.escape(text)}</p>' if text else ""
