"""The contract of every tab: its name, its components, and what they show of a model in a language."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from resnext.page.i18n import request_language, translate_lazy
from resnext.page.models import Model, Models

# For events that are no endpoints for programs.
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
# For private events that run no network: they need not wait in the queue behind events that do.
UNQUEUED = {**PRIVATE, "queue": False}


@dataclasses.dataclass(frozen=True)
class Page:
    """The components around the tabs that the events of a tab may use.

    Args:
        choice: The list of models. Its value may name a model that has not been opened yet.
        in_use: The name of the model that is open for this visitor; None for the page's default.
        switched: The event of opening another model.
        recovered: A state that changes when the page's default model takes the place of the bundled one.
        grown: A state that changes when the run that the page follows has new epochs or weights.
    """

    choice: gr.Dropdown
    in_use: gr.State
    switched: Dependency
    recovered: gr.State
    grown: gr.State


class Tab(abc.ABC):
    """A tab of the page.

    `build` makes the components and connects their events to methods of the tab. These methods take and
    return plain values, so that tests call them without a server. `show` gives the values of the outputs.
    The open tab is filled as soon as the model changes, any other when it is opened next.

    Args:
        models: The models that the page offers.

    Attributes:
        name: The tab's name in the page's address, `?tab=NAME`.
        label: The English text of the tab's button.
        outputs: The components that depend on the model or the language.
    """

    name: ClassVar[str]
    label: ClassVar[str]

    def __init__(self, models: Models):
        self.models = models
        self.outputs: tuple[Block, ...] = ()

    @abc.abstractmethod
    def build(self, page: Page) -> Sequence[Block]:
        """Makes the tab's components, connects their events, and returns the tab's outputs."""

    @abc.abstractmethod
    def show(self, model: Model, language: str) -> Sequence[Any]:
        """The values of the outputs for a model in a language ("en" or "zh")."""

    def update(self, model: Model, language: str) -> Sequence[Any]:
        """The values of the outputs for a newer version of the model that the tab shows."""
        return self.show(model, language)

    def place(self, page: Page) -> gr.Tab:
        """Adds the tab to the page that is being built, and returns its container."""
        with gr.Tab(translate_lazy(self.label), id=self.name) as container:
            self.outputs = tuple(self.build(page))
        return container

    def fill(
        self,
        name: str | None,
        filled: tuple | None,
        opened: str | None = None,
        request: gr.Request = None,
    ) -> list:
        """Fills the tab, unless it is filled for this model and language already or another tab is open.

        Args:
            name: The name of the model in use; None for the page's default.
            filled: The model's name and version, and the language, that the tab was filled for last.
            opened: The name of the open tab; this one if left out.
            request: Its headers say which language the visitor reads.

        Returns:
            The name of the open tab, what the tab is filled for now, and the values of the outputs.
        """
        if opened not in (None, self.name):
            return [gr.skip()] * (2 + len(self.outputs))
        language = request_language(request)
        model = self.models.get(name)
        state = (model.name, model.version, language)
        if state == filled:
            return [self.name, *[gr.skip()] * (1 + len(self.outputs))]
        newer = filled is not None and (filled[0], filled[2]) == (state[0], state[2])
        show = self.update if newer else self.show
        return [self.name, state, *show(model, language)]
