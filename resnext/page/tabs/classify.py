"""The tab that classifies one photograph and explains the prediction."""

import html
import pathlib

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from resnext.errors import ImageError, WeightsError, shortened
from resnext.page.cam import evidence_overlay, explanation_html
from resnext.page.feedback import NONE_OF_THESE
from resnext.page.fetch import fetch_image
from resnext.page.i18n import request_language, translate, translate_error, translate_lazy
from resnext.page.markup import Picture
from resnext.page.models import Classification, Model
from resnext.page.tabs.contract import PRIVATE, UNQUEUED, Page, Tab
from resnext.page.theme import read_static
from resnext.page.uploads import printable, take_uploads

# From this probability, a prediction is called certain.
SURE = 0.9
# Below this probability, a prediction is called uncertain.
UNSURE = 0.5
_SET_OPACITY = "value => { document.documentElement.style.setProperty('--map-opacity', value) }"


class ClassifyTab(Tab):
    """A photograph on the left; its most likely classes and the evidence for them on the right."""

    name = "classify"
    label = "Classify"

    def build(self, page: Page):
        with gr.Row(elem_classes="sides"):
            with gr.Column(min_width=320):
                photograph = gr.Image(
                    label=translate_lazy("Photograph"),
                    type="filepath",
                    height=400,
                    elem_classes="photograph",
                    buttons=["fullscreen"],
                )
                take_uploads(photograph)
                url = gr.Textbox(
                    label=translate_lazy("or the URL of an image"),
                    placeholder="https://",
                    max_lines=1,
                    submit_btn=True,
                    elem_classes="address",
                )
                gallery = gr.HTML(js_on_load=read_static("choose_example.js"), elem_classes="examples")
                credits = gr.HTML(elem_classes="examples")
            with gr.Column(min_width=320):
                answer = gr.HTML()
                bars = gr.Label(
                    label=translate_lazy("Most likely classes"), show_heading=False, elem_classes="likeliest"
                )
                times = gr.HTML()
                top_k = gr.Slider(
                    1, 10, value=5, step=1, label=translate_lazy("Number of classes"), elem_classes="top-k"
                )
                label = gr.Dropdown(
                    [], label=translate_lazy("Class to explain"), visible=False, interactive=True
                )
                explanation = gr.HTML()
                opacity = gr.Slider(
                    0,
                    1,
                    value=0.7,
                    step=0.05,
                    label=translate_lazy("Opacity of the activation map"),
                    visible=False,
                )

        inputs = (photograph, top_k, page.in_use)
        description = (answer, times, label, explanation, opacity)
        classified = gr.on(
            (photograph.change, top_k.change),
            self.classify,
            inputs,
            bars,
            api_name="classify",
            show_progress="minimal",
        )
        classified.success(self.describe, inputs, description, **UNQUEUED)
        classified.failure(no_photograph, outputs=photograph, **UNQUEUED)
        for changed in (page.switched.success, page.recovered.change, page.grown.change):
            again = changed(self.classify, inputs, bars, api_visibility="private", show_progress="minimal")
            again.success(self.describe, inputs, description, **UNQUEUED)
        bars.select(self.choose_bar, inputs, label, **UNQUEUED)
        label.change(self.explain_class, (photograph, label, page.in_use), explanation, **UNQUEUED)
        opacity.input(None, opacity, js=_SET_OPACITY, **PRIVATE)
        url.submit(
            fetch, url, photograph, api_visibility="private", show_progress="minimal", show_progress_on=url
        )
        gallery.click(self.choose_example, page.in_use, photograph, **UNQUEUED)
        outputs = [gallery, credits]
        if self.models.feedback:
            outputs.append(self._build_feedback(photograph, page))
        # An endpoint for programs only.
        gr.Button(visible=False).click(
            self.explain,
            (photograph, gr.Textbox(label="label", visible=False), page.choice),
            gr.Image(format="png", visible=False),
            api_name="explain",
        )
        return outputs

    def _build_feedback(self, photograph: gr.Image, page: Page) -> gr.Dropdown:
        """Makes the form of corrections, and returns its list of classes."""
        with gr.Accordion(translate_lazy("Wrong?"), open=False, elem_classes="feedback"):
            label = gr.Dropdown([], label=translate_lazy("Right class"), interactive=True)
            consent = gr.Checkbox(
                label=translate_lazy(
                    "I agree that my photograph and its class are stored in a data set on the Hub."
                ),
                info=self.models.feedback.repo_id,
            )
            send = gr.Button(translate_lazy("Send"), size="sm")
            answer = gr.HTML()
        send.click(
            self.correct,
            (photograph, label, consent, page.in_use),
            (answer, consent),
            api_visibility="private",
            show_progress="minimal",
        )
        photograph.change(lambda: ("", None), None, (answer, label), **UNQUEUED)
        return label

    def correct(
        self, image: str | None, label: str | None, consent: bool, name: str | None, request: gr.Request
    ) -> tuple[str, bool]:
        """Stores the right class of a photograph; returns a sentence, and the checkbox."""
        language = request_language(request)
        model = self.models.get(name)
        if (
            image is None
            or label is None
            or (label != NONE_OF_THESE and label not in model.classifier.config.label_names)
        ):
            text = "Choose a photograph and its right class first."
        elif not consent:
            text = "Tick the box first: without your consent nothing is stored."
        elif self.models.feedback.store(model, model.classify(image), label):
            return _status(translate(language, "Thank you: it was stored.")), False
        else:
            text = "No more corrections can be stored at the moment."
        return _status(translate(language, text)), consent

    def show(self, model: Model, language: str):
        shown = [example_gallery(model, language), _credits(model, language)]
        if self.models.feedback:
            none = (translate(language, "none of these classes"), NONE_OF_THESE)
            names = dict(zip(model.classifier.config.label_names, model.labels))
            choices = [*((shown, label) for label, shown in names.items()), none]
            shown.append(gr.Dropdown(choices=choices, value=None))
        return shown

    def classify(self, image: str | None, top_k: float, name: str, request: gr.Request) -> dict[str, float]:
        """Classify an image with the page's own model.

        Args:
            image: The file of a photograph.
            top_k: The number of classes to return, from 1 to 10.

        Returns:
            The most likely classes with their probabilities, the most likely first.
        """
        if image is None:
            return {}
        model = self.models.get(name)
        try:
            classification = model.classify(image)
        except (ImageError, WeightsError) as error:
            raise image_error(error, image, request_language(request)) from None
        confidences = {}
        for prediction in model.classifier.top(classification.output, int(top_k)):
            # Of two classes with the same name, the more likely one counts.
            confidences.setdefault(shortened(prediction.label), prediction.probability)
        return confidences

    def describe(self, image: str | None, top_k: float, name: str, request: gr.Request) -> tuple:
        """The sentence, the times, the classes to explain, the explanation and the slider of its opacity."""
        if image is None:
            return "", "", gr.Dropdown(choices=[], value=None, visible=False), "", gr.Slider(visible=False)
        model = self.models.get(name)
        language = request_language(request)
        classification = model.classify(image)
        likeliest = classification.most_likely(top_k)
        best = likeliest[0]
        choices = [(model.labels[index], index) for index in likeliest]
        return (
            _answer(model.labels, best, classification, language),
            _times(classification, language),
            gr.Dropdown(choices=choices, value=best, visible=True),
            explanation_html(model, classification, best, language),
            gr.Slider(visible=True),
        )

    def explain_class(self, image: str | None, label: int | None, name: str, request: gr.Request) -> str:
        """The explanation of one class, as HTML."""
        if image is None or label is None:
            return ""
        model = self.models.get(name)
        return explanation_html(model, model.classify(image), label, request_language(request))

    def choose_bar(self, image: str, top_k: float, name: str, event: gr.SelectData) -> int | None:
        """The index of the class whose bar was clicked."""
        model = self.models.get(name)
        likeliest = model.classify(image).most_likely(top_k)
        return next((index for index in likeliest if model.labels[index] == event.value), None)

    def choose_example(self, name: str, event: gr.EventData) -> str:
        """The path of the example that was clicked."""
        return str(self.models.get(name).examples()[event.index])

    def explain(self, image: str | None, label: str | None = None, model: str | None = None) -> Image.Image:
        """Show the evidence for a class in an image: its class activation map over the network's input.

        Args:
            image: The file of a photograph.
            label: The name of the class to explain; the most likely class if left out.
            model: The name of a model that the page offers; the page's first model if left out.

        Returns:
            The image crop that is the network's input, with the class activation map over it.
        """
        opened = self.models.get(model)
        if image is None:
            raise gr.Error("There is no image to explain: upload one.", print_exception=False)
        try:
            classification = opened.classify(image)
        except (ImageError, WeightsError) as error:
            raise image_error(error, image) from None
        names = opened.classifier.config.label_names
        if label and label not in names:
            known = ", ".join(opened.labels[:20])
            text = f"{label[:200]} is not a class of {opened.name}: choose one of {known}."
            raise gr.Error(html.escape(text, quote=False), print_exception=False)
        index = names.index(label) if label else classification.most_likely(1)[0]
        return evidence_overlay(opened, classification, index)


def no_photograph() -> None:
    """Clears the photograph after an error."""
    return


async def fetch(url: str, request: gr.Request) -> str | None:
    """Downloads the image at a web address that a visitor has typed, into the folder of uploads."""
    if not url.strip():
        return None
    try:
        return str(await fetch_image(url, pathlib.Path(get_upload_folder())))
    except ImageError as error:
        text = translate_error(request_language(request), str(error))
        raise gr.Error(html.escape(text, quote=False), print_exception=False) from None


def image_error(error: ImageError | WeightsError, image: str, language: str = "en") -> gr.Error:
    """The error message that a visitor reads about a bad image or network, without the server's folder.

    Args:
        error: The error.
        image: The path of the image's file.
        language: "en" or "zh".
    """
    # str(error) may be shortened in the middle of the path.
    message = str(ImageError(error.args[0].replace(image, printable(pathlib.Path(image).name))))
    return gr.Error(html.escape(translate_error(language, message), quote=False), print_exception=False)


def in_words(label: str, probability: float, classes: int, language: str = "en") -> str:
    """The prediction as a sentence, which says so if the network is uncertain."""
    if probability >= SURE:
        text = "{label}, {percent} percent."
    elif probability >= UNSURE:
        text = "Probably {label}, {percent} percent."
    else:
        text = (
            "Not sure: the best guess is {label}, {percent} percent. "
            "The network knows only its {classes} classes."
        )
    return translate(language, text, label=label, percent=f"{100 * probability:.0f}", classes=classes)


def _answer(labels: tuple[str, ...], best: int, classification: Classification, language: str) -> str:
    probability = classification.probability(best)
    if classification.unknown:
        state = " unknown"
        text = "This does not look like any of the {classes} classes."
        text = translate(language, text, classes=len(labels))
    else:
        state = " unsure" if probability < UNSURE else ""
        text = in_words(labels[best], probability, len(labels), language)
    return f'<p class="answer{state}" role="status">{html.escape(text)}</p>'


def _status(text: str) -> str:
    return f'<p class="quiet" role="status">{html.escape(text)}</p>'


def _times(classification: Classification, language: str) -> str:
    network = f"{1000 * classification.network_seconds:.0f}"
    total = f"{1000 * classification.total_seconds:.0f}"
    text = translate(language, "network {network} ms · total {total} ms", network=network, total=total)
    return f'<p class="quiet seconds">{text}</p>'


def example_gallery(model: Model, language: str) -> str:
    """The repository's example photographs as buttons, or an empty string if it has none."""
    buttons = "".join(model.cached("gallery", lambda: _example_buttons(model)))
    if not buttons:
        return ""
    return f'<h2 class="title">{translate(language, "Examples")}</h2><div class="gallery">{buttons}</div>'


def _example_buttons(model: Model) -> list[str]:
    buttons = []
    for index, file in enumerate(model.examples()):
        try:
            with Image.open(file) as image:
                image.draft("RGB", (192, 192))
                thumbnail = image.convert("RGB")
        except OSError:
            continue
        thumbnail.thumbnail((192, 192))
        alt = file.stem.replace("_", " ")
        picture = Picture(thumbnail, alt).html
        buttons.append(
            f'<button type="button" data-index="{index}" title="{html.escape(alt)}">{picture}</button>'
        )
    return buttons


def _credits(model: Model, language: str) -> str:
    file = model.folder / "examples" / "CREDITS.md"
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        text = opened.read(2**16).decode("utf-8", errors="replace").strip()
    summary = translate(language, "Credits")
    return f'<details class="quiet"><summary>{summary}</summary>{html.escape(text)}</details>'
