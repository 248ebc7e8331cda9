"""The tab of the test: confusion matrix, the images in its cells, scores per class, and calibration."""

from collections.abc import Sequence

import gradio as gr

from resnext.page.charts import (
    MAX_NAMED_CLASSES,
    ORDERS,
    as_plot,
    confusion_figure,
    most_confused,
    reliability_figure,
    unique_names,
)
from resnext.page.i18n import join_sentences, request_language, translate, translate_lazy
from resnext.page.markup import Picture, album, headline, sentence, table, title
from resnext.page.mistakes import mistakes_in, predictions_in, thumbnail
from resnext.page.models import Model
from resnext.page.records import read
from resnext.page.tabs.contract import UNQUEUED, Page, Tab
from resnext.page.theme import read_static
from resnext.results import (
    CalibrationBin,
    Evaluation,
    ImagePrediction,
    Suspect,
    calibration_bias,
    calibration_error,
    spread_over_classes,
)

VALUES = ("counts", "rates")
# The tutorial prints ten predictions; as many mistakes are shown.
FIRST = 10
MAX_LISTED = 200
MAX_DRAWN_CLASSES = 2000
_CONFUSED = (
    "No test image of {true} was predicted as {predicted}.",
    "One test image of {true} was predicted as {predicted}.",
    "{count} test images of {true} were predicted as {predicted}.",
)


class EvaluationTab(Tab):
    """What the network predicts correctly and wrongly on images that it was not trained on."""

    name = "test"
    label = "Test"

    def build(self, page: Page):
        numbers = gr.HTML()
        with gr.Column(visible=False, elem_classes="test") as tested:
            explorer = gr.HTML(
                html_template="@children", js_on_load=read_static("choose_cell.js"), elem_classes="explorer"
            )
            with explorer:
                with gr.Row(elem_classes="controls"):
                    values = _radio("Cell values", VALUES, scale=1)
                    order = _radio("Class order", ORDERS, scale=2)
                with gr.Row(equal_height=True):
                    with gr.Column(min_width=320):
                        guide = gr.HTML()
                        plot = gr.Plot(
                            label="Confusion matrix", show_label=False, elem_classes="heatmap", min_width=320
                        )
                    with gr.Column(min_width=320, elem_classes="cell"):
                        choose = gr.HTML()
                        with gr.Row(elem_classes="pair"):
                            true = _class_list("True class")
                            predicted = _class_list("Predicted class")
                        images = gr.HTML(elem_classes="cell-images")
            with gr.Row():
                per_class = gr.HTML(
                    js_on_load=read_static("sort_table.js"), min_width=320, elem_classes="per-class"
                )
                with gr.Column(min_width=320):
                    calibration = gr.HTML()
                    diagram = gr.Plot(
                        label="Reliability diagram",
                        show_label=False,
                        elem_classes="reliability",
                        min_width=320,
                    )
            tables = gr.HTML()
        gr.on((values.input, order.input), self.redraw, (page.in_use, values, order), plot, **UNQUEUED)
        gr.on(
            (true.input, predicted.input), self.show_cell, (page.in_use, true, predicted), images, **UNQUEUED
        )
        explorer.click(self.choose_cell, page.in_use, (true, predicted, images), **UNQUEUED)
        matrix = (values, order, guide, plot, choose, true, predicted, images)
        return numbers, tested, *matrix, per_class, calibration, diagram, tables

    def show(self, model: Model, language: str):
        evaluation = _evaluation(model, language)
        if isinstance(evaluation, str):
            return evaluation, gr.Column(visible=False), *[gr.skip()] * 12
        bins = evaluation.calibration
        row, column = most_confused(evaluation.confusion_matrix)
        choices = [(name, index) for index, name in enumerate(unique_names(evaluation.classes))]
        return (
            _headline(evaluation, bins, language),
            gr.Column(visible=True),
            VALUES[0],
            ORDERS[0],
            _guide(evaluation, language),
            _confusion_plot(model, VALUES[0], ORDERS[0], language),
            _cell_guide(language),
            gr.Dropdown(choices=choices, value=row),
            gr.Dropdown(choices=choices, value=column),
            cell_html(model, row, column, language),
            _per_class(evaluation, language),
            calibration_html(bins, language, evaluation.uncalibrated) if bins else "",
            gr.Plot(as_plot(reliability_figure(bins, evaluation.uncalibrated, language)), visible=True)
            if bins
            else gr.Plot(visible=False),
            _tables(model, evaluation, language),
        )

    def redraw(self, name: str, values: str, order: str, request: gr.Request):
        """The confusion matrix with other values in its cells or in another order."""
        return _confusion_plot(self.models.get(name), values, order, request_language(request))

    def show_cell(self, name: str, row: int, column: int, request: gr.Request) -> str:
        """The images in the cell of two classes."""
        return cell_html(self.models.get(name), row, column, request_language(request))

    def choose_cell(self, name: str, event: gr.EventData, request: gr.Request) -> tuple[int, int, str]:
        """The two classes of the cell that was clicked, and its images."""
        images = self.show_cell(name, event.true, event.predicted, request)
        return event.true, event.predicted, images


def _radio(label: str, options: tuple[str, ...], scale: int) -> gr.Radio:
    choices = [(translate_lazy(option), option) for option in options]
    return gr.Radio(choices, value=options[0], label=translate_lazy(label), scale=scale, min_width=200)


def _class_list(label: str) -> gr.Dropdown:
    return gr.Dropdown([], label=translate_lazy(label), interactive=True, min_width=140)


def _evaluation(model: Model, language: str) -> Evaluation | str:
    """What evaluation.json holds, or as HTML why there is nothing."""
    return model.cached(("evaluation", language), lambda: _read_evaluation(model, language))


def _read_evaluation(model: Model, language: str) -> Evaluation | str:
    otherwise = "there are no test results to show"
    evaluation = read(model.folder / "evaluation.json", Evaluation.from_json, otherwise, language)
    if isinstance(evaluation, Evaluation) and evaluation.is_stale(model.folder):
        stale = "The test results of this repository are of other weights, so they are not shown."
        return sentence(translate(language, stale))
    return evaluation


def _headline(evaluation: Evaluation, bins: list[CalibrationBin], language: str) -> str:
    numbers = {}
    if evaluation.top1 is not None:
        numbers["top-1 accuracy"] = f"{evaluation.top1:.1%}"
    # Of five classes or fewer, the top-5 accuracy is always 100 %.
    if evaluation.top5 is not None and len(evaluation.classes) > 5:
        numbers["top-5 accuracy"] = f"{evaluation.top5:.1%}"
    if evaluation.loss is not None:
        numbers["loss"] = f"{evaluation.loss:.3f}"
    if evaluation.samples is not None:
        numbers["images"] = f"{evaluation.samples:,}"
    if bins:
        numbers["expected calibration error"] = f"{calibration_error(bins):.1%}"
    if evaluation.detection and evaluation.detection.refused is not None:
        numbers["other photographs refused"] = f"{evaluation.detection.refused:.1%}"
    shown = headline({translate(language, name): text for name, text in numbers.items()})
    if evaluation.method is None:
        return shown
    text = (
        "There was no test set: each training image was classified by a classifier that was fitted without "
        "it ({method})."
    )
    return shown + sentence(translate(language, text, method=evaluation.method), "quiet")


def _guide(evaluation: Evaluation, language: str) -> str:
    count = len(evaluation.classes)
    if count > MAX_DRAWN_CLASSES:
        sentences = [
            translate(language, "There are too many classes to draw the matrix: choose two of them.")
        ]
    else:
        sentences = [translate(language, "The bluer the cell, the larger its share of the true class.")]
    if MAX_NAMED_CLASSES < count <= MAX_DRAWN_CLASSES:
        sentences.append(translate(language, "Drag to zoom in, double-click to zoom out."))
    text = join_sentences(language, sentences)
    return title(translate(language, "Confusion matrix")) + sentence(text, "quiet")


def _cell_guide(language: str) -> str:
    text = translate(language, "Click a cell of the confusion matrix, or choose the two classes.")
    return title(translate(language, "Images in a cell")) + sentence(text, "quiet")


def _confusion_plot(model: Model, values: str, order: str, language: str) -> gr.Plot:
    evaluation = _evaluation(model, language)
    if len(evaluation.classes) > MAX_DRAWN_CLASSES:
        return gr.Plot(visible=False)

    def draw():
        matrix = evaluation.confusion_matrix
        return as_plot(confusion_figure(matrix, list(evaluation.classes), order, values, language))

    return gr.Plot(model.cached(("confusion matrix", values, order, language), draw), visible=True)


def cell_html(model: Model, row: int, column: int, language: str) -> str:
    """The contents of a cell of the confusion matrix: how many images, and which.

    Args:
        model: The model.
        row: The index of the true class.
        column: The index of the predicted class.
        language: "en" or "zh".
    """
    evaluation = _evaluation(model, language)
    names = unique_names(evaluation.classes)
    count = int(evaluation.confusion_matrix[row, column])
    if row == column:
        text = "{count} of {images} test images of {true} were classified correctly."
        pictures = []
    else:
        text = _CONFUSED[min(count, 2)]
        true, predicted = evaluation.classes[row], evaluation.classes[column]
        pictures = mistakes_in(evaluation, model.folder, true, predicted)[0]
    summary = translate(
        language,
        text,
        true=names[row],
        predicted=names[column],
        count=f"{count:,}",
        images=f"{evaluation.confusion_matrix[row].sum():,}",
    )
    description = matrix_in_words(evaluation, language)
    parts = [sentence(summary, "cell-summary", live=True, cell=f"{row} {column}", description=description)]
    if row != column and count > len(pictures):
        parts.append(sentence(_missing_thumbnails(len(pictures), language), "quiet"))
    if pictures:
        name = translate(
            language, "{true} predicted as {predicted}", true=names[row], predicted=names[column]
        )
        shown = [
            (Picture(content, file), file, f"{probability:.1%}") for content, file, probability in pictures
        ]
        parts.append(album(name, shown))
    elif count:
        parts.append(_file_table(evaluation, row, column, language))
    return f'<div class="fit">{"".join(parts)}</div>'


def _missing_thumbnails(shown: int, language: str) -> str:
    if not shown:
        return translate(language, "This repository has no thumbnails of these images.")
    return translate(language, "This repository has thumbnails of {shown} of them.", shown=shown)


def _file_table(evaluation: Evaluation, row: int, column: int, language: str) -> str:
    """The files in a cell and their probabilities, as a table."""
    true, predicted = evaluation.classes[row], evaluation.classes[column]
    files = predictions_in(evaluation, true, predicted)[:MAX_LISTED]
    if not files:
        return ""
    names = unique_names(evaluation.classes)
    name = names[row]
    if row != column:
        name = translate(
            language, "{true} predicted as {predicted}", true=names[row], predicted=names[column]
        )
    header = (translate(language, "file"), translate(language, "probability"))
    rows = [(prediction.file, f"{prediction.probability:.1%}") for prediction in files]
    return table(name, header, rows, numbers=(1,), titled=False)


def matrix_in_words(evaluation: Evaluation, language: str) -> str:
    """The confusion matrix for screen readers: its accuracy and the most frequent confusion."""
    matrix = evaluation.confusion_matrix
    names = unique_names(evaluation.classes)
    sentences = [
        translate(
            language,
            "Confusion matrix of {classes} classes: {correct} of {images} images are classified correctly.",
            classes=f"{len(names):,}",
            correct=f"{matrix.trace():,}",
            images=f"{matrix.sum():,}",
        )
    ]
    row, column = most_confused(matrix)
    if row != column:
        frequent = translate(
            language,
            "The most frequent confusion: {count} images of {true} predicted as {predicted}.",
            count=f"{matrix[row, column]:,}",
            true=names[row],
            predicted=names[column],
        )
        sentences.append(frequent)
    return join_sentences(language, sentences)


def _per_class(evaluation: Evaluation, language: str) -> str:
    rows = [
        (
            scores.label,
            *(f"{score:.3f}" if scores.support else "–" for score in scores[1:4]),
            f"{scores.support:,d}",
        )
        for scores in evaluation.per_class
    ]
    columns = ("class", "precision", "recall", "F1", "images")
    header = tuple(translate(language, name) for name in columns)
    search = translate(language, "Find a class") if len(rows) > MAX_NAMED_CLASSES else ""
    name = translate(language, "Scores per class")
    return table(name, header, rows, numbers=(1, 2, 3, 4), sortable=True, search=search)


def calibration_html(bins: list[CalibrationBin], language: str, before: Sequence[CalibrationBin] = ()) -> str:
    """The reliability diagram in words: the calibration error, and whether the network is over-confident."""
    error = calibration_error(bins)
    bias = calibration_bias(bins)
    sentences = [
        translate(
            language,
            "On the dashed line, confidence equals accuracy. "
            "The mean distance from it is the expected calibration error: {error}.",
            error=f"{error:.1%}",
        )
    ]
    if before:
        text = "Before calibration it was {error}."
        sentences.append(translate(language, text, error=f"{calibration_error(before):.1%}"))
    if bias > error / 2:
        text = "The network is under-confident: its accuracy is higher than its confidence."
        sentences.append(translate(language, text))
    elif bias < -error / 2:
        text = "The network is over-confident: its accuracy is lower than its confidence."
        sentences.append(translate(language, text))
    text = join_sentences(language, sentences)
    return title(translate(language, "Reliability diagram")) + sentence(text, "quiet")


def _tables(model: Model, evaluation: Evaluation, language: str) -> str:
    mistakes = sorted(
        (prediction for prediction in evaluation.predictions if prediction.true != prediction.predicted),
        key=lambda prediction: -prediction.probability,
    )
    parts = [_sample_predictions(evaluation, language)]
    if mistakes:
        parts.insert(0, _confident_mistakes(model, mistakes[:FIRST], language))
    if evaluation.suspects:
        parts.append(_doubtful_labels(model, evaluation.suspects[:MAX_LISTED], language))
    return f'<div class="sections">{"".join(parts)}</div>'


def _sample_predictions(evaluation: Evaluation, language: str) -> str:
    rows = []
    # The first ones of a test are usually all of one class.
    for prediction in spread_over_classes(evaluation.predictions, FIRST):
        correct = prediction.true == prediction.predicted
        rows.append((*_cells(prediction), translate(language, "✓ correct" if correct else "✗ wrong")))
    header = (*_prediction_header(language), translate(language, "result"))
    name = translate(language, "Sample predictions, spread over the classes")
    return table(name, header, rows, numbers=(3,))


def _confident_mistakes(model: Model, mistakes: list[ImagePrediction], language: str) -> str:
    name = translate(language, "Most confident mistakes")
    rows = [_cells(prediction) for prediction in mistakes]
    return _illustrated(model, name, _prediction_header(language), rows, mistakes, language)


def _doubtful_labels(model: Model, suspects: Sequence[Suspect], language: str) -> str:
    name = translate(language, "Doubtful labels")
    columns = ("file", "label", "looks like", "probability of the label")
    header = tuple(translate(language, column) for column in columns)
    rows = [(row.file, row.label, row.likelier, f"{row.probability:.1%}") for row in suspects]
    return _illustrated(model, name, header, rows, suspects, language)


def _illustrated(
    model: Model,
    name: str,
    header: tuple[str, ...],
    rows: list[tuple],
    images: Sequence[ImagePrediction | Suspect],
    language: str,
) -> str:
    """A table with a column of thumbnails, if there are any, and numbers in its last column."""
    files = [thumbnail(model.folder, image.thumbnail) for image in images]
    if any(files):
        header = (translate(language, "thumbnail"), *header)
        rows = [(Picture(file, row[0]) if file else "", *row) for file, row in zip(files, rows)]
    return table(name, header, rows, numbers=(len(header) - 1,))


def _prediction_header(language: str) -> tuple[str, ...]:
    return tuple(translate(language, name) for name in ("file", "true", "predicted", "probability"))


def _cells(prediction: ImagePrediction) -> tuple[str, str, str, str]:
    return prediction.file, prediction.true, prediction.predicted, f"{prediction.probability:.1%}"
