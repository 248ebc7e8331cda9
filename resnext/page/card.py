"""The tab of the model card: a repository's README as HTML that can neither run anything nor tell anyone who reads it."""

import pathlib

import gradio as gr
from markdown_it import MarkdownIt

from resnext.page.markup import Picture, sentence
from resnext.page.models import Model
from resnext.page.words import say, translated

_MOST_BYTES = 2**20  # of the README, and of a picture in it


def card_tab():
    """How to download the weights, and the card.

    Returns:
        `show(model, tongue)`, which gives the values of the components that follow it; and those components.
    """
    gr.Markdown(translated("Download the weights"), elem_classes="title")
    lines = [gr.Code(label=name, language="python", interactive=False, lines=1, buttons=["copy"]) for name in one_liners("", None)]
    card = gr.HTML()

    def show(model: Model, tongue: str):
        repository = model.classifier.repository
        rendered = model.once(("card", tongue), lambda: render_card(model.folder, tongue))
        return *one_liners(repository.name, repository.revision).values(), rendered

    return show, (*lines, card)


def render_card(folder: pathlib.Path, tongue: str) -> str:
    """README.md without its YAML header.

    HTML in it is shown as text, links may be http, https or mailto, and only pictures in the repository are drawn.
    """
    try:
        with (folder / "README.md").open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return sentence(say(tongue, "This repository has no README.md."))
    if text.startswith("---\n"):
        text = text[4:].partition("\n---\n")[2] or text
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(renderer, tokens, index, options, environment):
        token = tokens[index]
        source = str(token.attrs.get("src", ""))
        path = (folder / source).resolve()
        # A snapshot of the Hub is made of links to a folder of blobs: the unresolved path says where it lies.
        inside = ".." not in pathlib.PurePosixPath(source).parts and not source.startswith("/") and ":" not in source
        if inside and path.suffix in ("", ".png", ".jpg", ".jpeg") and path.is_file() and path.stat().st_size <= _MOST_BYTES:
            content = path.read_bytes()
            if content.startswith((b"\x89PNG", b"\xff\xd8")):
                return Picture(content, token.content).html
        return sentence(f"[{token.content or source}]", "quiet")

    def link(renderer, tokens, index, options, environment):
        token = tokens[index]
        if not str(token.attrs.get("href", "")).startswith(("https://", "http://", "mailto:", "#")):
            token.attrs["href"] = "#"
        token.attrs |= {"target": "_blank", "rel": "noopener noreferrer nofollow"}
        return renderer.renderToken(tokens, index, options, environment)

    markdown.add_render_rule("image", image)
    markdown.add_render_rule("link_open", link)
    return f'<article class="card">{markdown.render(text)}</article>'


def one_liners(name: str, revision: str | None) -> dict[str, str]:
    """How to get the weights: by huggingface_hub, by this project, and in timm."""
    owner = name if revision else "OWNER/NAME"
    return {
        "huggingface_hub": f'huggingface_hub.hf_hub_download("{owner}", "model.safetensors")',
        "resnext": f'resnext.from_pretrained("{owner}")',
        "timm": f'timm.create_model("hf_hub:{owner}", pretrained=True)',
    }
