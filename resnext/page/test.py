"""The tab of the test: the heatmap of true against predicted classes, what is behind its cells, and how sure to be."""

import gradio as gr

from resnext.page.figures import ORDERS, as_plot, heatmap, reliability
from resnext.page.markup import headline, table
from resnext.page.models import Model, Models
from resnext.page.records import calibration_error, parse_evaluation, read
from resnext.page.words import language, say, translated

SHOWN = ("counts", "rates")
FIRST = 10  # predictions, as the tutorial prints them; and mistakes
_HEADLINE = (("top1", "top-1 accuracy", ".1%"), ("top5", "top-5 accuracy", ".1%"), ("loss", "loss", ".3f"), ("samples", "images", ",.0f"))


def test_tab(models: Models, model: gr.Dropdown):
    """What the network gets right and wrong on images that it has never seen.

    Returns:
        `show(model, tongue)`, which gives the values of the components that follow it; and those components.
    """
    numbers = gr.HTML()
    with gr.Column(visible=False) as tested:
        with gr.Row(elem_classes="controls"):
            cells = gr.Radio([(translated(name), name) for name in SHOWN], value="counts", label=translated("Cells show"))
            order = gr.Radio([(translated(name), name) for name in ORDERS], value=ORDERS[0], label=translated("Order of classes"))
        with gr.Row():
            plot = gr.Plot(label="Confusion matrix", show_label=False, elem_classes="heatmap", min_width=320)
            with gr.Column(min_width=320):
                per_class = gr.HTML()
                diagram = gr.Plot(label="Reliability", show_label=False, elem_classes="square", min_width=320)
        tables = gr.HTML()

    def show(chosen: Model, tongue: str):
        evaluation = _evaluation(chosen, tongue)
        if isinstance(evaluation, str):
            return evaluation, gr.Column(visible=False), *[gr.skip()] * 6
        bins = evaluation["calibration"]
        return (
            _headline(evaluation, tongue),
            gr.Column(visible=True),
            "counts",
            ORDERS[0],
            _heatmap(chosen, "counts", ORDERS[0], tongue),
            _per_class(evaluation, tongue),
            gr.Plot(as_plot(reliability(bins, tongue)), visible=True) if bins else gr.Plot(visible=False),
            _tables(evaluation, tongue),
        )

    def redraw(name: str, cells: str, order: str, request: gr.Request):
        return _heatmap(models.get(name), cells, order, language(request))

    settings = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    gr.on((cells.input, order.input), redraw, (model, cells, order), plot, **settings)
    return show, (numbers, tested, cells, order, plot, per_class, diagram, tables)


def _evaluation(model: Model, tongue: str):
    otherwise = "there is no test to show"
    return model.once(("evaluation", tongue), lambda: read(model.folder / "evaluation.json", parse_evaluation, otherwise, tongue))


def _headline(evaluation: dict, tongue: str) -> str:
    numbers = {
        say(tongue, name): format(evaluation["numbers"][key], form) for key, name, form in _HEADLINE if key in evaluation["numbers"]
    }
    if evaluation["calibration"]:
        numbers[say(tongue, "expected calibration error")] = f"{calibration_error(evaluation['calibration']):.1%}"
    return headline(numbers)


def _heatmap(model: Model, cells: str, order: str, tongue: str):
    evaluation = _evaluation(model, tongue)
    matrix, classes = evaluation["confusion_matrix"], evaluation["classes"]
    return model.once(("heatmap", cells, order, tongue), lambda: as_plot(heatmap(matrix, classes, order, cells, tongue)))


def _per_class(evaluation: dict, tongue: str) -> str:
    rows = [(label, *(f"{score:.3f}" for score in scores), f"{images:,d}") for label, *scores, images in evaluation["per_class"]]
    header = tuple(say(tongue, name) for name in ("class", "precision", "recall", "F1", "images"))
    return table(say(tongue, "Per class"), header, rows, numbers=(1, 2, 3, 4))


def _tables(evaluation: dict, tongue: str) -> str:
    predictions = evaluation["predictions"]
    wrong = sorted((row for row in predictions if row[1] != row[2]), key=lambda row: -row[3])
    header = (*(say(tongue, name) for name in ("file", "true", "predicted", "probability")), "")
    parts = []
    for title, rows in (("First predictions", predictions[:FIRST]), ("Most confident mistakes", wrong[:FIRST])):
        cells = [
            (file, true, named, f"{probability:.1%}", say(tongue, "✓ right" if true == named else "✗ wrong"))
            for file, true, named, probability, _ in rows
        ]
        parts.append(table(say(tongue, title), header, cells, numbers=(3,)))
    return "".join(parts)
