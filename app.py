"""The web page: classify photographs with a ResNeXt from the Hugging Face Hub, and see how it was trained and tested."""

import html
import math
import pathlib
import re
import sys
import tempfile
from typing import Annotated, Any

import gradio as gr
import typer
from huggingface_hub import constants

from resnext.classifier import Classifier
from resnext.command import run
from resnext.errors import ImageError, ResNeXtError
from resnext.network_shapes import network_modules
from resnext.page import batch, card, explain, inside
from resnext.page.figures import curve, heatmap, reliability
from resnext.page.markup import Picture, headline, table
from resnext.page.models import Model
from resnext.page.records import calibration_error, parse_evaluation, parse_history, read, recipe_tables
from resnext.page.style import CSS, THEME
from resnext.page.words import I18N, language, say, translated

MOST_EXAMPLES = 24
ORDERS = ("as trained", "most confused first", "similar ones together")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


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
        model = Model(classifier)
        with gr.Tabs(overflow_behavior="wrap"):  # a phone shows all of them
            with gr.Tab(translated("Classify")):
                classify_tab(model, folder / "examples")
            with gr.Tab(translated("Batch")):
                batch_tab(model)
            with gr.Tab(translated("Training")):
                training_tab(folder)
            with gr.Tab(translated("Test")):
                test_tab(folder)
            with gr.Tab(translated("Inside ResNeXt")):
                inside_tab()
            with gr.Tab(translated("Model card")):
                card_tab(classifier)
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


def classify_tab(model: Model, examples: pathlib.Path) -> None:
    """A photograph on the left, its likeliest classes on the right, the reasons and examples beneath."""
    classifier = model.classifier
    labels = classifier.config.label_names

    def classify(image: str | None, top_k: float = 5) -> dict[str, float]:
        """Classify an image.

        Args:
            image: a photograph's file.
            top_k: how many classes to name, from 1 to 10.

        Returns:
            The likeliest classes, likeliest first, with their probabilities.
        """
        if image is None:
            return {}
        try:
            look = model.look(image)
        except ImageError as error:
            raise _complaint(error, image) from None
        confidences = {}
        for prediction in classifier.top(look.answer, int(top_k)):  # two classes may have one name: the likelier counts
            confidences.setdefault(prediction.label, prediction.probability)
        return confidences

    def tell(image: str | None, top_k: float, request: gr.Request):
        if image is None:
            return "", "", gr.Dropdown(choices=[], value=None, visible=False), "", gr.Slider(visible=False)
        tongue, look = language(request), model.look(image)
        likeliest = (-look.answer.probabilities).argsort(kind="stable")[: int(top_k)]
        best = int(likeliest[0])
        seconds = say(tongue, "network {network} ms · in all {all} ms", network=f"{1000 * look.network:.0f}", all=f"{1000 * look.seconds:.0f}")
        return (
            f'<p class="answer" role="status">{html.escape(in_words(labels[best], look.answer.probabilities[best], len(labels), tongue))}</p>',
            f'<p class="quiet seconds">{seconds}</p>',
            gr.Dropdown(choices=[(labels[index], int(index)) for index in likeliest], value=best, visible=True),
            explain.why(model, look, best, tongue),
            gr.Slider(visible=True),
        )

    def explain_class(image: str | None, label: int | None, request: gr.Request) -> str:
        if image is None or label is None:
            return ""
        return explain.why(model, model.look(image), label, language(request))

    def chosen_bar(image: str, top_k: float, event: gr.SelectData) -> int | None:
        likeliest = (-model.look(image).answer.probabilities).argsort(kind="stable")[: int(top_k)]
        return next((int(index) for index in likeliest if labels[index] == event.value), None)

    with gr.Row():
        with gr.Column(min_width=320):
            photograph = gr.Image(
                label=translated("Photograph"), type="filepath", height=400, elem_classes="photograph", buttons=["fullscreen"]
            )
            # Gradio would decode the file itself, and fail on what is no image before `open_image` can say why.
            photograph.preprocess = lambda upload: upload and upload.path
            example_gallery(examples, photograph)
        with gr.Column(min_width=320):
            bars = gr.Label(label=translated("Likeliest classes"))
            words, took = gr.HTML(), gr.HTML()
            top_k = gr.Slider(1, 10, value=5, step=1, label=translated("Classes to name"), elem_classes="top-k")
            label = gr.Dropdown([], label=translated("Class to explain"), visible=False, interactive=True)
            why = gr.HTML()
            opacity = gr.Slider(0, 1, value=0.7, step=0.05, label=translated("Opacity of the map"), visible=False)
    private = {"api_visibility": "private", "show_progress": "hidden"}
    classified = gr.on(
        (photograph.change, top_k.change), classify, (photograph, top_k), bars, api_name="classify", show_progress="minimal"
    )
    classified.success(tell, (photograph, top_k), (words, took, label, why, opacity), **private)
    classified.failure(lambda: None, outputs=photograph, **private)
    bars.select(chosen_bar, (photograph, top_k), label, **private)
    label.change(explain_class, (photograph, label), why, **private)
    opacity.input(None, opacity, js="value => { document.documentElement.style.setProperty('--heat', value) }", **private)


def _complaint(error: ImageError, image: str) -> gr.Error:
    message = str(error).replace(image, pathlib.Path(image).name)
    return gr.Error(html.escape(message, quote=False), print_exception=False)


def in_words(label: str, probability: float, classes: int, tongue: str = "en") -> str:
    """The answer as a sentence; one that is uncertain says so."""
    if probability >= 0.9:
        text = "{label}, {percent} percent."
    elif probability >= 0.5:
        text = "Probably {label}, {percent} percent."
    else:
        text = "Not sure: {label} is only the best guess, {percent} percent. The network knows {classes} classes and nothing else."
    return say(tongue, text, label=label, percent=f"{100 * probability:.0f}", classes=classes)


def batch_tab(model: Model) -> None:
    """Up to 200 files or ZIPs of them, as a table and as CSV."""

    def classify_batch(paths: list[str] | None, request: gr.Request, progress=gr.Progress()):
        if not paths:
            return "", None
        tongue, files = language(request), batch.files_in(paths)
        rows = [batch.classify_file(model, name, source) for name, source in progress.tqdm(files)]
        cells = [
            (
                Picture(row.thumbnail, "") if row.thumbnail else "",
                row.file,
                row.error or row.label,
                "" if row.probability is None else f"{row.probability:.1%}",
            )
            for row in rows
        ]
        bad = sum(bool(row.error) for row in rows)
        title = say(tongue, "{count} files, {bad} of them could not be read.", count=len(rows), bad=bad)
        header = tuple(say(tongue, name) for name in ("thumbnail", "file", "class", "probability"))
        with tempfile.NamedTemporaryFile("w", suffix=".csv", prefix="classes-", delete=False, encoding="utf-8") as file:
            file.write(batch.to_csv(rows))
        return table(title, header, cells, numbers=(3,)), gr.DownloadButton(value=file.name, visible=True)

    files = gr.File(label=translated("Photographs, or a ZIP of them"), file_count="multiple", type="filepath", elem_classes="many")
    results = gr.HTML()
    download = gr.DownloadButton(translated("Download as CSV"), visible=False, size="sm")
    files.change(classify_batch, files, (results, download), api_visibility="private")


def inside_tab() -> None:
    """What a grouped convolution and a residual unit are, to play with."""

    gr.HTML('<h2 class="title">Grouped convolution</h2>')
    with gr.Row():
        sliders = [
            gr.Slider(1, 64, value=12, step=1, label=translated("Input channels"), min_width=140),
            gr.Slider(1, 64, value=12, step=1, label=translated("Filters"), min_width=140),
            gr.Slider(1, 7, value=3, step=2, label=translated("Kernel"), min_width=140),
            gr.Slider(1, 64, value=3, step=1, label=translated("Groups"), min_width=140),
        ]
    wires = gr.HTML(inside.calculator(12, 12, 3, 3, "en"))
    gr.HTML('<h2 class="title">Three equal forms of the residual unit</h2>')
    paths = gr.Slider(1, 32, value=32, step=1, label=translated("Cardinality"))
    forms = gr.HTML(inside.forms(32, "en"))
    run_button = gr.Button(translated("Run the three forms"), variant="primary")
    outputs = gr.HTML(elem_classes="outputs")
    gr.HTML('<h2 class="title">ResNet-50 beside ResNeXt-50</h2>')
    cardinality = gr.Radio(list(inside.WIDTHS), value=32, label=translated("Cardinality"), elem_classes="stages")
    stages = gr.HTML(inside.beside(32, "en"))
    private = {"api_visibility": "private", "show_progress": "hidden"}

    def calculate(channels: float, filters: float, kernel: float, groups: float, request: gr.Request) -> str:
        return inside.calculator(channels, filters, kernel, groups, language(request))

    gr.on([slider.change for slider in sliders], calculate, sliders, wires, **private)
    paths.change(lambda count: inside.forms(count, "en"), paths, forms, **private)
    run_button.click(lambda count: inside.run_forms(count, "en"), paths, outputs, **private)
    cardinality.change(lambda count: inside.beside(count, "en"), cardinality, stages, **private)


def card_tab(classifier: Classifier) -> None:
    """The repository's README, and how to get the weights."""
    repository = classifier.repository
    gr.HTML('<h2 class="title">Download the weights</h2>')
    for name, line in card.one_liners(repository.name, repository.revision).items():
        gr.Code(line, language="python", label=name, interactive=False, lines=1, buttons=["copy"])
    gr.HTML(card.render_card(repository.folder, "en"))


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
    history = read(folder / "history.csv", parse_history, "there are no learning curves to show")
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
    gr.HTML(read(folder / "recipe.json", recipe_tables, "nothing is known of how it was trained"))


def test_tab(folder: pathlib.Path) -> None:
    """What the network gets right and wrong on images that it has never seen."""
    evaluation = read(folder / "evaluation.json", parse_evaluation, "there is no test to show")
    if isinstance(evaluation, str):
        gr.HTML(evaluation)
        return
    numbers = {
        name: format(evaluation["numbers"][key], form)
        for key, name, form in (
            ("top1", "top-1 accuracy", ".1%"), ("top5", "top-5 accuracy", ".1%"), ("loss", "loss", ".3f"), ("samples", "images", ",.0f")
        )
        if key in evaluation["numbers"]
    }  # fmt: skip
    bins = evaluation["calibration"]
    if bins:
        numbers["expected calibration error"] = f"{calibration_error(bins):.1%}"
    gr.HTML(headline(numbers))
    matrix, classes = evaluation["confusion_matrix"], evaluation["classes"]
    with gr.Row():
        show = gr.Radio(
            [(translated(name), name) for name in ("counts", "rates")], value="counts", label=translated("Cells show")
        )
        order = gr.Radio([(translated(name), name) for name in ORDERS], value=ORDERS[0], label=translated("Order of classes"))
    with gr.Row():
        figure = heatmap(matrix, classes, show="counts")
        plot = gr.Plot(figure, label="Confusion matrix", show_label=False, elem_classes="heatmap", min_width=320)
        with gr.Column(min_width=320):
            per_class = [(label, *(f"{score:.3f}" for score in scores), f"{n:,d}") for label, *scores, n in evaluation["per_class"]]
            gr.HTML(table("Per class", ("class", "precision", "recall", "F1", "images"), per_class, numbers=(1, 2, 3, 4)))
            if bins:
                gr.Plot(reliability(bins), label="Reliability", show_label=False, elem_classes="square", min_width=320)
    wrong = sorted((row for row in evaluation["predictions"] if row[1] != row[2]), key=lambda row: -row[3])
    header = ("file", "true", "predicted", "probability", "")
    for title, rows in (("First predictions", evaluation["predictions"][:10]), ("Most confident mistakes", wrong[:10])):
        cells = [(file, true, named, f"{p:.1%}", "✓ right" if true == named else "✗ wrong") for file, true, named, p, _ in rows]
        gr.HTML(table(title, header, cells, numbers=(3,)))

    def redraw(show: str, order: str, request: gr.Request):
        return heatmap(matrix, classes, order, show, language(request))

    gr.on((show.change, order.change), redraw, (show, order), plot, api_visibility="private", show_progress="hidden")


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
        server_name=host, server_port=port, theme=THEME, css=CSS, i18n=I18N, footer_links=["api"], max_file_size="64mb",
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
