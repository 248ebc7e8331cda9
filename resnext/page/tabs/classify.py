"""The tab in which one photograph is classified, and the answer explained."""

import html
import pathlib

import gradio as gr
from PIL import Image

from resnext.errors import ImageError
from resnext.page.cam import overlay, why
from resnext.page.fetch import fetch_image
from resnext.page.i18n import fault, request_language, say, translated
from resnext.page.markup import Picture
from resnext.page.models import Model, Models
from resnext.page.uploads import printable, take_uploads

SURE, UNSURE = 0.9, 0.5  # from and below which probability the answer's words say so
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
QUICK = {**PRIVATE, "queue": False}  # no network runs: such an event need not wait behind those that do
_CHOOSE_EXAMPLE = """
element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button) trigger('click', { index: Number(button.dataset.index) });
});"""


def classify_tab(models: Models, model: gr.Dropdown, in_use: gr.State):
    """A photograph on the left, its likeliest classes and the reasons on the right.

    Returns:
        `reset(model, language)`, which gives the values of the components that follow it when another model is chosen; those
        components; and the event listener to call then.
    """

    def classify(image: str | None, top_k: float, name: str, request: gr.Request) -> dict[str, float]:
        """Classify an image with the page's own model.

        Args:
            image: a photograph's file.
            top_k: how many classes to name, from 1 to 10.

        Returns:
            The likeliest classes, likeliest first, with their probabilities.
        """
        if image is None:
            return {}
        chosen = models.get(name)
        try:
            look = chosen.look(image)
        except ImageError as error:
            raise complaint(error, image, request_language(request)) from None
        confidences = {}
        for prediction in chosen.classifier.top(
            look.output, int(top_k)
        ):  # of two classes with one name, the likelier counts
            confidences.setdefault(prediction.label, prediction.probability)
        return confidences

    def tell(image: str | None, top_k: float, name: str, request: gr.Request):
        if image is None:
            return "", "", gr.Dropdown(choices=[], value=None, visible=False), "", gr.Slider(visible=False)
        chosen, language = models.get(name), request_language(request)
        look, labels = chosen.look(image), chosen.labels
        likeliest = _likeliest(look, top_k)
        best = likeliest[0]
        probability = float(look.output.probabilities[best])
        answer, unsure = (
            in_words(labels[best], probability, len(labels), language),
            " unsure" if probability < UNSURE else "",
        )
        times = {"network": f"{1000 * look.network:.0f}", "all": f"{1000 * look.seconds:.0f}"}
        return (
            f'<p class="answer{unsure}" role="status">{html.escape(answer)}</p>',
            f'<p class="quiet seconds">{say(language, "network {network} ms · in all {all} ms", **times)}</p>',
            gr.Dropdown(choices=[(labels[index], index) for index in likeliest], value=best, visible=True),
            why(chosen, look, best, language),
            gr.Slider(visible=True),
        )

    def explain_class(image: str | None, label: int | None, name: str, request: gr.Request) -> str:
        if image is None or label is None:
            return ""
        chosen = models.get(name)
        return why(chosen, chosen.look(image), label, request_language(request))

    def chosen_bar(image: str, top_k: float, name: str, event: gr.SelectData) -> int | None:
        chosen = models.get(name)
        likeliest = _likeliest(chosen.look(image), top_k)
        return next((index for index in likeliest if chosen.labels[index] == event.value), None)

    def explain(image: str | None, label: str | None = None, model: str | None = None) -> Image.Image:
        """Show where an image speaks for a class: the class activation map over what the network saw.

        Args:
            image: a photograph's file.
            label: name of the class to explain; the likeliest if left out.
            model: one of the models that the page offers.

        Returns:
            The crop that the network saw with the map over it.
        """
        chosen = models.get(model)
        if image is None:
            raise gr.Error("Give an image to explain.", print_exception=False)
        try:
            look = chosen.look(image)
        except ImageError as error:
            raise complaint(error, image) from None
        if label and label not in chosen.labels:
            named = ", ".join(chosen.labels[:20])
            raise gr.Error(
                html.escape(f"{label[:200]} is no class of {chosen.name}: it knows {named}.", quote=False),
                print_exception=False,
            )
        index = chosen.labels.index(label) if label else _likeliest(look, 1)[0]
        return overlay(chosen, look, index)

    async def fetch(url: str, request: gr.Request) -> str | None:
        if not url.strip():
            return None
        try:
            return str(
                await fetch_image(url, pathlib.Path(photograph.GRADIO_CACHE))
            )  # where uploads are, too
        except ImageError as error:
            raise gr.Error(
                html.escape(fault(request_language(request), str(error)), quote=False), print_exception=False
            ) from None

    def show_examples(chosen: Model, language: str):
        return example_gallery(chosen, language), _credits(chosen, language)

    first = models.open(None)
    with gr.Row(elem_classes="sides"):
        with gr.Column(min_width=320):
            photograph = gr.Image(
                label=translated("Photograph"),
                type="filepath",
                height=400,
                elem_classes="photograph",
                buttons=["fullscreen"],
            )
            take_uploads(photograph)
            url = gr.Textbox(
                label=translated("or the address of an image"),
                placeholder="https://",
                max_lines=1,
                submit_btn=True,
                elem_classes="address",
            )
            gallery = gr.HTML(
                example_gallery(first, "en"), js_on_load=_CHOOSE_EXAMPLE, elem_classes="examples"
            )
            credits = gr.HTML(_credits(first, "en"), elem_classes="examples")
        with gr.Column(min_width=320):
            words = gr.HTML()
            bars = gr.Label(label=translated("Likeliest classes"), show_heading=False)
            took = gr.HTML()
            top_k = gr.Slider(
                1, 10, value=5, step=1, label=translated("Classes to name"), elem_classes="top-k"
            )
            label = gr.Dropdown([], label=translated("Class to explain"), visible=False, interactive=True)
            reasons = gr.HTML()
            opacity = gr.Slider(
                0, 1, value=0.7, step=0.05, label=translated("Opacity of the map"), visible=False
            )

    shown = (photograph, top_k, in_use)
    classified = gr.on(
        (photograph.change, top_k.change), classify, shown, bars, api_name="classify", show_progress="minimal"
    )
    classified.success(tell, shown, (words, took, label, reasons, opacity), **QUICK)
    classified.failure(lambda: None, outputs=photograph, **QUICK)
    bars.select(chosen_bar, shown, label, **QUICK)
    label.change(explain_class, (photograph, label, in_use), reasons, **QUICK)
    opacity.input(
        None,
        opacity,
        js="value => { document.documentElement.style.setProperty('--heat', value) }",
        **PRIVATE,
    )
    url.submit(
        fetch, url, photograph, api_visibility="private", show_progress="minimal", show_progress_on=url
    )

    def choose_example(name: str, event: gr.EventData) -> str:
        return str(models.get(name).examples()[event.index])

    gallery.click(choose_example, in_use, photograph, **QUICK)
    for_programs = gr.Button(visible=False)
    for_programs.click(
        explain,
        (photograph, gr.Textbox(label="label", visible=False), model),
        gr.Image(format="png", visible=False),
        api_name="explain",
    )

    def again(switched) -> None:
        """Classifies the photograph anew after an event."""
        renewed = switched.success(classify, shown, bars, api_visibility="private", show_progress="minimal")
        renewed.success(tell, shown, (words, took, label, reasons, opacity), **QUICK)

    return show_examples, (gallery, credits), again


def _likeliest(look, top_k: float) -> list[int]:
    return [int(index) for index in (-look.output.probabilities).argsort(kind="stable")[: int(top_k)]]


def complaint(error: ImageError, image: str, language: str = "en") -> gr.Error:
    """What a visitor reads of a bad image: its name without the server's folder."""
    # Before the error's own cut and clean-up, after which the path might not be found in it.
    message = str(ImageError(error.args[0].replace(image, printable(pathlib.Path(image).name))))
    return gr.Error(html.escape(fault(language, message), quote=False), print_exception=False)


def in_words(label: str, probability: float, classes: int, language: str = "en") -> str:
    """The answer as a sentence; one that is uncertain says so."""
    if probability >= SURE:
        text = "{label}, {percent} percent."
    elif probability >= UNSURE:
        text = "Probably {label}, {percent} percent."
    else:
        text = "Not sure: {label} is only the best guess, {percent} percent. The network knows {classes} classes and nothing else."
    return say(language, text, label=label, percent=f"{100 * probability:.0f}", classes=classes)


def example_gallery(model: Model, language: str) -> str:
    """The repository's examples as buttons, or nothing."""

    def make() -> list[str]:
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
            buttons.append(
                f'<button type="button" data-index="{index}" title="{html.escape(alt)}">{Picture(thumbnail, alt).html}</button>'
            )
        return buttons

    buttons = "".join(model.once("gallery", make))
    return (
        f'<h2 class="title">{say(language, "Examples")}</h2><div class="gallery">{buttons}</div>'
        if buttons
        else ""
    )


def _credits(model: Model, language: str) -> str:
    file = model.folder / "examples" / "CREDITS.md"
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        text = opened.read(2**16).decode("utf-8", errors="replace").strip()
    return (
        f'<details class="quiet"><summary>{say(language, "Credits")}</summary>{html.escape(text)}</details>'
    )
