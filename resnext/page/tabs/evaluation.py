"""The tab of the test: the heatmap of true against predicted classes, what is behind its cells, and how sure to be."""

import gradio as gr

from resnext.page.charts import MAX_NAMED_CLASSES, ORDERS, as_plot, distinct, heatmap, reliability
from resnext.page.i18n import request_language, say, translated
from resnext.page.markup import Picture, album, headline, sentence, table, title
from resnext.page.mistakes import cell_of, mistakes_in, picture
from resnext.page.models import Model, Models
from resnext.page.records import calibration_bias, calibration_error, most_confused, parse_evaluation, read

SHOWN = ("counts", "rates")
FIRST = 10  # predictions, as the tutorial prints them; and mistakes
MAX_LISTED = 200  # files of a cell
MAX_DRAWN_CLASSES = 2000
_HEADLINE = (
    ("top1", "top-1 accuracy", ".1%"),
    ("top5", "top-5 accuracy", ".1%"),
    ("loss", "loss", ".3f"),
    ("samples", "images", ",.0f"),
)
_CONFUSED = (
    "No test image of {true} was taken for {predicted}.",
    "One test image of {true} was taken for {predicted}.",
    "{count} test images of {true} were taken for {predicted}.",
)
# A click on a cell chooses its classes, but a double-click resets the zoom; the chosen cell has a frame whatever was drawn last.
_CHOOSE_CELL = """
let waiting = 0, reset = 0;
element.addEventListener('pointerdown', event => {
  const plot = event.target.closest('.heatmap .js-plotly-plot');
  if (!plot) return;
  const index = name => plot.layout.meta[plot.data[0].x.indexOf(name)];
  const patient = plot.layout.dragmode && event.pointerType === 'mouse';
  plot.removeAllListeners('plotly_click');
  plot.removeAllListeners('plotly_doubleclick');
  plot.on('plotly_click', ({ points: [{ x, y }] }) => {
    const choose = () => trigger('click', { true: index(y), predicted: index(x) });
    clearTimeout(waiting);
    if (!patient) choose();
    else if (Date.now() - reset > 300) waiting = setTimeout(choose, 300);
  });
  plot.on('plotly_doubleclick', () => { clearTimeout(waiting); reset = Date.now(); });
}, true);
const frame = () => {
  const plot = element.querySelector('.heatmap .js-plotly-plot');
  const told = element.querySelector('[data-cell]');
  if (!plot?._fullLayout?.xaxis || !told) return;
  plot.setAttribute('role', 'img');
  plot.setAttribute('aria-label', told.dataset.heatmap);
  const name = told.dataset.cell;
  if (plot.layout.shapes?.[0]?.name === name) return;
  const [y, x] = name.split(' ').map(index => plot.layout.meta.indexOf(Number(index)));
  const line = { color: '#EE7733', width: 2.5 };
  Plotly.relayout(plot, { shapes: [{ type: 'rect', name, line, x0: x - .5, x1: x + .5, y0: y - .5, y1: y + .5 }] });
};
new MutationObserver(frame).observe(element, { childList: true, subtree: true });"""
# The buttons of a table's header sort it, and what is typed above it leaves rows out.
_SORT = """
const order = new Intl.Collator(undefined, { numeric: true }).compare;
element.addEventListener('click', event => {
  const head = event.target.closest('th[aria-sort]');
  if (!head) return;
  const direction = head.getAttribute('aria-sort') === 'ascending' ? 'descending' : 'ascending';
  for (const other of head.parentElement.cells) other.setAttribute('aria-sort', 'none');
  head.setAttribute('aria-sort', direction);
  const key = row => row.cells[head.cellIndex].textContent.replaceAll(',', '');
  const sign = direction === 'ascending' ? 1 : -1;
  const body = head.closest('table').tBodies[0];
  body.append(...[...body.rows].sort((one, other) => sign * order(key(one), key(other))));
});
element.addEventListener('input', event => {
  const sought = event.target.value.toLowerCase();
  for (const row of element.querySelector('tbody').rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(sought);
});"""


def test_tab(models: Models, in_use: gr.State):
    """What the network gets right and wrong on images that it has never seen.

    Returns:
        `show(model, language)`, which gives the values of the components that follow it; and those components.
    """
    numbers = gr.HTML()
    with gr.Column(visible=False, elem_classes="test") as tested:
        with gr.HTML(html_template="@children", js_on_load=_CHOOSE_CELL, elem_classes="explorer") as explorer:
            with gr.Row(elem_classes="controls"):
                cells, order = (
                    gr.Radio(
                        [(translated(name), name) for name in names],
                        value=names[0],
                        label=translated(label),
                        scale=scale,
                        min_width=200,
                    )
                    for names, label, scale in ((SHOWN, "Cells show", 1), (ORDERS, "Order of classes", 2))
                )
            with gr.Row(equal_height=True):
                with gr.Column(min_width=320):
                    guide = gr.HTML()
                    plot = gr.Plot(
                        label="Confusion matrix", show_label=False, elem_classes="heatmap", min_width=320
                    )
                with gr.Column(min_width=320, elem_classes="cell"):
                    choose = gr.HTML()
                    with gr.Row(elem_classes="pair"):
                        true, predicted = (
                            gr.Dropdown([], label=translated(name), interactive=True, min_width=140)
                            for name in ("True class", "Predicted class")
                        )
                    images = gr.HTML(elem_classes="cell-images")
        with gr.Row():
            per_class = gr.HTML(js_on_load=_SORT, min_width=320, elem_classes="per-class")
            with gr.Column(min_width=320):
                meaning = gr.HTML()
                diagram = gr.Plot(
                    label="Reliability", show_label=False, elem_classes="reliability", min_width=320
                )
        tables = gr.HTML()
    outputs = (
        numbers,
        tested,
        cells,
        order,
        guide,
        plot,
        choose,
        true,
        predicted,
        images,
        per_class,
        meaning,
        diagram,
        tables,
    )

    def show(chosen: Model, language: str):
        evaluation = _evaluation(chosen, language)
        if isinstance(evaluation, str):
            return evaluation, gr.Column(visible=False), *[gr.skip()] * (len(outputs) - 2)
        bins = evaluation["calibration"]
        row, column = most_confused(evaluation["confusion_matrix"])
        choices = [(name, index) for index, name in enumerate(distinct(evaluation["classes"]))]
        return (
            _headline(evaluation, language),
            gr.Column(visible=True),
            "counts",
            ORDERS[0],
            _guide(evaluation, language),
            _heatmap(chosen, "counts", ORDERS[0], language),
            title(say(language, "Images of a cell"))
            + sentence(say(language, "Choose a cell of the heatmap, or the two classes."), "quiet"),
            gr.Dropdown(choices=choices, value=row),
            gr.Dropdown(choices=choices, value=column),
            _cell(chosen, row, column, language),
            _per_class(evaluation, language),
            _meaning(bins, language) if bins else "",
            gr.Plot(as_plot(reliability(bins, language)), visible=True) if bins else gr.Plot(visible=False),
            _tables(chosen, evaluation, language),
        )

    def redraw(name: str, cells: str, order: str, request: gr.Request):
        return _heatmap(models.get(name), cells, order, request_language(request))

    def show_cell(name: str, row: int, column: int, request: gr.Request):
        return _cell(models.get(name), row, column, request_language(request))

    def choose_cell(name: str, event: gr.EventData, request: gr.Request):
        row, column = event.true, event.predicted
        return row, column, _cell(models.get(name), row, column, request_language(request))

    settings = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    gr.on((cells.input, order.input), redraw, (in_use, cells, order), plot, **settings)
    gr.on((true.input, predicted.input), show_cell, (in_use, true, predicted), images, **settings)
    explorer.click(choose_cell, in_use, (true, predicted, images), **settings)
    return show, outputs


def _evaluation(model: Model, language: str):
    otherwise = "there is no test to show"
    return model.once(
        ("evaluation", language),
        lambda: read(model.folder / "evaluation.json", parse_evaluation, otherwise, language),
    )


def _headline(evaluation: dict, language: str) -> str:
    shown = [
        row
        for row in _HEADLINE
        if row[0] in evaluation["numbers"] and (row[0] != "top5" or len(evaluation["classes"]) > 5)
    ]
    numbers = {say(language, name): format(evaluation["numbers"][key], form) for key, name, form in shown}
    if evaluation["calibration"]:
        numbers[say(language, "expected calibration error")] = (
            f"{calibration_error(evaluation['calibration']):.1%}"
        )
    return headline(numbers)


def _guide(evaluation: dict, language: str) -> str:
    text = say(language, "The bluer a cell, the more images of the true class are in it.")
    if len(evaluation["classes"]) > MAX_DRAWN_CLASSES:
        text = say(language, "There are too many classes to draw: choose two of them.")
    elif len(evaluation["classes"]) > MAX_NAMED_CLASSES:
        text += " " + say(language, "Drag to enlarge a part, double-click to see all.")
    return title(say(language, "Confusion matrix")) + sentence(text, "quiet")


def _heatmap(model: Model, cells: str, order: str, language: str):
    evaluation = _evaluation(model, language)
    matrix, classes = evaluation["confusion_matrix"], evaluation["classes"]
    if len(classes) > MAX_DRAWN_CLASSES:
        return gr.Plot(visible=False)
    drawn = model.once(
        ("heatmap", cells, order, language), lambda: as_plot(heatmap(matrix, classes, order, cells, language))
    )
    return gr.Plot(drawn, visible=True)


def _cell(model: Model, row: int, column: int, language: str) -> str:
    """What is in a cell of the confusion matrix: how many images, and which."""
    evaluation = _evaluation(model, language)
    matrix, names, classes = (
        evaluation["confusion_matrix"],
        distinct(evaluation["classes"]),
        evaluation["classes"],
    )
    count = int(matrix[row, column])
    values = {
        "true": names[row],
        "predicted": names[column],
        "count": f"{count:,}",
        "images": f"{matrix[row].sum():,}",
    }
    if row == column:
        name, text, pictures = names[row], "{count} of {images} test images of {true} were right.", []
    else:
        name, text = say(language, "{true} taken for {predicted}", **values), _CONFUSED[min(count, 2)]
        pictures = mistakes_in(evaluation, model.folder, classes[row], classes[column])[0]
    parts = [
        sentence(
            say(language, text, **values),
            "told",
            live=True,
            cell=f"{row} {column}",
            heatmap=_in_words(evaluation, language),
        )
    ]
    if row != column and count > len(pictures):
        text = (
            "This repository holds thumbnails of {shown} of them."
            if pictures
            else "This repository holds no thumbnails of them."
        )
        parts.append(sentence(say(language, text, shown=len(pictures)), "quiet"))
    if pictures:
        parts.append(
            album(
                name,
                [
                    (Picture(content, file), file, f"{probability:.1%}")
                    for content, file, probability in pictures
                ],
            )
        )
    elif count:
        rows = [
            (file, f"{probability:.1%}")
            for file, _, _, probability, _ in cell_of(evaluation, classes[row], classes[column])
        ]
        header = (say(language, "file"), say(language, "probability"))
        parts.append(table(name, header, rows[:MAX_LISTED], numbers=(1,), titled=False) if rows else "")
    return f'<div class="fit">{"".join(parts)}</div>'


def _in_words(evaluation: dict, language: str) -> str:
    """The heatmap for those who do not see it."""
    matrix, names = evaluation["confusion_matrix"], distinct(evaluation["classes"])
    row, column = most_confused(matrix)
    text = say(
        language,
        "Confusion matrix of {classes} classes: {right} of {images} images are right.",
        classes=f"{len(names):,}",
        right=f"{matrix.trace():,}",
        images=f"{matrix.sum():,}",
    )
    if row != column:
        text += " " + say(
            language,
            "The most frequent confusion: {count} of {true} taken for {predicted}.",
            count=f"{matrix[row, column]:,}",
            true=names[row],
            predicted=names[column],
        )
    return text


def _per_class(evaluation: dict, language: str) -> str:
    rows = [
        (label, *(f"{score:.3f}" for score in scores), f"{images:,d}")
        for label, *scores, images in evaluation["per_class"]
    ]
    header = tuple(say(language, name) for name in ("class", "precision", "recall", "F1", "images"))
    search = say(language, "Find a class") if len(rows) > MAX_NAMED_CLASSES else ""
    return table(say(language, "Per class"), header, rows, numbers=(1, 2, 3, 4), sortable=True, search=search)


def _meaning(bins: list[tuple[float, float, int]], language: str) -> str:
    """What the reliability diagram says."""
    error, bias = calibration_error(bins), calibration_bias(bins)
    text = say(
        language,
        "On the dashed line, a probability means what it says. The mean distance from it is the expected calibration error: {error}.",
        error=f"{error:.1%}",
    )
    if abs(bias) > error / 2:
        text += " " + say(
            language,
            "The network is right more often than it says."
            if bias > 0
            else "The network is right less often than it says.",
        )
    return title(say(language, "Reliability")) + sentence(text, "quiet")


def _tables(model: Model, evaluation: dict, language: str) -> str:
    predictions = evaluation["predictions"]
    wrong = sorted((row for row in predictions if row[1] != row[2]), key=lambda row: -row[3])[:FIRST]
    header = tuple(say(language, name) for name in ("file", "true", "predicted", "probability"))
    verdicts = [say(language, "✓ right" if row[1] == row[2] else "✗ wrong") for row in predictions[:FIRST]]
    rows = [(*_as_texts(row), verdict) for row, verdict in zip(predictions, verdicts)]
    parts = [
        table(say(language, "First predictions"), (*header, say(language, "result")), rows, numbers=(3,))
    ]
    if wrong:
        files = [picture(model.folder, row[4]) for row in wrong]
        rows = [_as_texts(row) for row in wrong]
        if any(files):
            header = (say(language, "thumbnail"), *header)
            rows = [(Picture(file, row[0]) if file else "", *row) for file, row in zip(files, rows)]
        parts.insert(
            0, table(say(language, "Most confident mistakes"), header, rows, numbers=(len(header) - 1,))
        )
    return f'<div class="sections">{"".join(parts)}</div>'


def _as_texts(prediction: tuple) -> tuple[str, str, str, str]:
    file, true, predicted, probability, _ = prediction
    return file, true, predicted, f"{probability:.1%}"
