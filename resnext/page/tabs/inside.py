"""The tab of the lesson: grouped convolution, the three forms of a block, ResNet-50 and ResNeXt-50."""

import functools
import secrets

import gradio as gr

from resnext.page.arithmetic import MAX_CARDINALITY
from resnext.page.diagrams import calculator, comparison, form_outputs, forms
from resnext.page.i18n import request_language, translate_lazy
from resnext.page.models import Model
from resnext.page.tabs.contract import PRIVATE, UNQUEUED, Page, Tab
from resnext.page.theme import read_static

MAX_CHANNELS = 128
MAX_KERNEL = 7
# Input channels, filters, kernel, groups.
START = (12, 12, 3, 3)
_TITLE = '<h2 class="title lesson">${value}</h2>'
_FIRST_TITLE = '<h2 class="title lesson first">${value}</h2>'


class InsideTab(Tab):
    """What a grouped convolution and a ResNeXt block are, to play with."""

    name = "inside"
    label = "Inside ResNeXt"

    def build(self, page: Page):
        drawing = functools.partial(
            gr.HTML, apply_default_css=False, js_on_load=read_static("pick.js"), elem_classes="inside"
        )
        _title("Grouped convolution", _FIRST_TITLE)
        with gr.Row():
            sizes = [
                _size("Input channels", MAX_CHANNELS, START[0]),
                _size("Filters", MAX_CHANNELS, START[1]),
                _size("Kernel size", MAX_KERNEL, START[2], step=2),
                _size("Groups", MAX_CHANNELS, START[3]),
            ]
        kernels = drawing()
        _title("Three equivalent forms of a ResNeXt block")
        paths = gr.Slider(
            1, MAX_CARDINALITY, value=MAX_CARDINALITY, step=1, label=translate_lazy("Cardinality")
        )
        blocks = drawing()
        with gr.Row(elem_classes="centered"):
            run = gr.Button(translate_lazy("Run the three forms"), variant="primary", scale=0, min_width=280)
        outputs = drawing(elem_classes="inside outputs")
        _title("ResNet-50 and ResNeXt-50 compared")
        cardinality = gr.Slider(
            1,
            MAX_CARDINALITY,
            value=MAX_CARDINALITY,
            step=1,
            label=translate_lazy("Cardinality at equal complexity"),
            elem_classes="cardinality",
        )
        stages = drawing()

        quick = {**UNQUEUED, "trigger_mode": "always_last"}
        gr.on([size.input for size in sizes], calculate, sizes, kernels, **quick)
        kernels.click(pick_sizes, None, (*sizes, kernels), **quick)
        paths.input(draw_forms, paths, (blocks, outputs), **quick)
        run.click(run_forms, paths, outputs, **PRIVATE)
        cardinality.input(compare, cardinality, stages, **quick)
        stages.click(pick_cardinality, None, (cardinality, stages), **quick)
        return *sizes, kernels, paths, blocks, outputs, cardinality, stages

    def show(self, model: Model, language: str):
        most = MAX_CARDINALITY
        blocks = forms(most, language)
        return *START, calculator(*START, language), most, blocks, "", most, comparison(most, language)


def _title(text: str, template: str = _TITLE) -> gr.HTML:
    return gr.HTML(translate_lazy(text), html_template=template, apply_default_css=False, js_on_load=None)


def _size(label: str, most: int, value: int, step: int = 1) -> gr.Slider:
    return gr.Slider(1, most, value=value, step=step, label=translate_lazy(label), min_width=200)


def calculate(channels: float, filters: float, kernel: float, groups: float, request: gr.Request) -> str:
    """The convolutions of the sizes that the sliders have."""
    return calculator(int(channels), int(filters), int(kernel), int(groups), request_language(request))


def pick_sizes(event: gr.EventData, request: gr.Request) -> tuple[int, int, int, int, str]:
    """The sizes of the example that was clicked, and its convolutions."""
    channels, filters, kernel, groups = (_within(size, MAX_CHANNELS) for size in event.sizes)
    sizes = (channels, filters, min(kernel, MAX_KERNEL), groups)
    return *sizes, calculator(*sizes, request_language(request))


def draw_forms(count: float, request: gr.Request) -> tuple[str, str]:
    """The three forms of a block with so many paths; outputs of another block are cleared."""
    return forms(int(count), request_language(request)), ""


def run_forms(count: float, request: gr.Request) -> str:
    """The outputs of the three forms for new random weights and input."""
    return form_outputs(int(count), request_language(request), seed=secrets.randbelow(2**32))


def compare(count: float, request: gr.Request) -> str:
    """ResNet-50 and ResNeXt-50 of a cardinality."""
    return comparison(int(count), request_language(request))


def pick_cardinality(event: gr.EventData, request: gr.Request) -> tuple[int, str]:
    """The cardinality that was clicked, and its comparison."""
    count = _within(event.cardinality, MAX_CARDINALITY)
    return count, comparison(count, request_language(request))


def _within(value, most: int) -> int:
    """A whole number from 1 to `most`, because a browser may send anything."""
    return min(max(int(value), 1), most)
