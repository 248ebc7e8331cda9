"""The tab of the model card: the repository's README, and how to download the weights."""

import html

import gradio as gr

from resnext.page.i18n import translate, translate_lazy
from resnext.page.markdown import render_card
from resnext.page.models import Model, is_hub_id
from resnext.page.tabs.contract import Page, Tab
from resnext.page.theme import read_static
from resnext.repository import BUNDLED, bundled_title
from resnext.weights import weights_file

_TITLE = '<h2 class="title">${value}</h2>'
# Their names by the page's names: a folder may be called "flowers", too.
_BUNDLED = {bundled_title(name): name for name in BUNDLED}
_LIBRARIES = ("huggingface_hub", "resnext", "timm")


class CardTab(Tab):
    """The model card, and lines of Python that download the weights."""

    name = "card"
    label = "Model card"

    def build(self, page: Page):
        # Where both columns fit, the style sheet places the second one to the left.
        with gr.Row(elem_classes="card-row"):
            with gr.Column(scale=3, min_width=320):
                gr.HTML(
                    translate_lazy("Download the weights"),
                    html_template=_TITLE,
                    apply_default_css=False,
                    js_on_load=None,
                )
                # Not `gr.Code`, whose editor is a fifth of what a visitor downloads before the first view.
                lines = [
                    gr.Textbox(label=library, interactive=False, buttons=["copy"], elem_classes="line")
                    for library in _LIBRARIES
                ]
                where = gr.HTML(apply_default_css=False, js_on_load=None)
            with gr.Column(scale=5, min_width=320):
                card = gr.HTML(apply_default_css=False, js_on_load=read_static("scroll_to_heading.js"))
        return *lines, where, card

    def show(self, model: Model, language: str):
        commands = download_lines(model.plain_name, weights_file(model.folder).name)
        lines = [gr.Textbox(commands.get(library), visible=library in commands) for library in _LIBRARIES]
        card = model.cached(
            ("card", language), lambda: render_card(model.folder, language, _files_on_hub(model))
        )
        return *lines, _where_to_run(model, language), card


def download_lines(name: str, weights: str) -> dict[str, str]:
    """A line of Python by library that downloads or opens the weights of a model.

    Args:
        name: The page's name of the model: a bundled one's, OWNER/NAME, OWNER/NAME@REVISION, or a folder's.
        weights: The name of the file of the weights, which may be any text.
    """
    if bundled := _BUNDLED.get(name):
        folder = f"resnext/{BUNDLED[bundled].name}"
        return {
            "resnext": f'import resnext; resnext.from_pretrained("{bundled}")',
            "timm": f'import timm; timm.create_model("local-dir:{folder}", pretrained=True)',
        }
    if not is_hub_id(name):
        return {
            "resnext": f"import resnext; resnext.from_pretrained({_quoted(name)})",
            "timm": f"import timm; timm.create_model({_quoted(f'local-dir:{name}')}, pretrained=True)",
        }
    repo_id, _, revision = name.partition("@")
    pinned = f', revision="{revision}"' if revision else ""
    download = f'hf_hub_download("{repo_id}", {_quoted(weights)}{pinned})'
    return {
        "huggingface_hub": f"from huggingface_hub import hf_hub_download; {download}",
        "resnext": f'import resnext; resnext.from_pretrained("{name}")',
        "timm": f'import timm; timm.create_model("hf_hub:{name}", pretrained=True)',
    }


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _where_to_run(model: Model, language: str) -> str:
    """In which folder the lines work, as HTML; nothing for a model of the Hub."""
    if is_hub_id(model.plain_name):
        return ""
    if model.plain_name in _BUNDLED:
        text = translate(
            language, "This model comes with the project: run these lines in the project's folder."
        )
    else:
        text = translate(
            language,
            "This model is in a folder of this server, not on the Hub: run these lines in its parent folder.",
        )
    return f'<p class="quiet">{html.escape(text)}</p>'


def _files_on_hub(model: Model) -> str:
    """The address that relative links of the README start with, or an empty string."""
    repository = model.classifier.repository
    if not repository.revision:
        return ""
    return f"https://huggingface.co/{repository.name}/blob/{repository.revision}/"
