"""The tab of the model card: a repository's README as HTML that can neither run anything nor tell anyone who reads it."""

import html
import io
import pathlib
import re
import time
import urllib.parse

import gradio as gr
from markdown_it import MarkdownIt
from PIL import Image

from resnext.page.i18n import say, translated
from resnext.page.markup import Picture
from resnext.page.models import BUNDLED_NAME, Model, is_hub_id

MAX_BYTES = 2**20  # of the README, and of a picture in it
MAX_PICTURE_BYTES = 2**22  # of all pictures
_MAX_PIXELS = 25_000_000  # of a picture: a reader's browser has to hold them
PATIENCE = 3  # seconds; a README of 100 kB takes a tenth of one
_TITLE = '<h2 class="title">${value}</h2>'
# The page has a <base>: the browser itself would take a link to a heading for one to another page.
_SCROLL = """
element.addEventListener('click', event => {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  event.preventDefault();
  element.querySelector('#' + CSS.escape(link.getAttribute('href').slice(1)))?.scrollIntoView();
});"""
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SILENT = re.compile(
    r"<(script|style|template|iframe|object|svg|math|title)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<(?:[a-zA-Z/!?][^<>]*)>")
_FRONT_MATTER = re.compile(
    r"\A\ufeff?---[ \t]*\r?\n.*?^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)


def card_tab():
    """The card, and beside it how to download the weights.

    Returns:
        `show(model, language)`, which gives the values of the components that follow it; and those components.
    """
    with gr.Row(elem_classes="card-row"):  # the stylesheet puts the second column to the left where both fit
        with gr.Column(scale=3, min_width=320):
            gr.HTML(
                translated("Download the weights"),
                html_template=_TITLE,
                apply_default_css=False,
                js_on_load=None,
            )
            lines = [
                gr.Code(
                    label=name,
                    language="python",
                    interactive=False,
                    lines=1,
                    buttons=["copy"],
                    wrap_lines=True,
                    show_line_numbers=False,
                )
                for name in ("huggingface_hub", "resnext", "timm")
            ]
            where = gr.HTML(apply_default_css=False, js_on_load=None)
        with gr.Column(scale=5, min_width=320):
            card = gr.HTML(apply_default_css=False, js_on_load=_SCROLL)

    def show(model: Model, language: str):
        commands = one_liners(model.plain_name)
        rendered = model.once(
            ("card", language), lambda: render_card(model.folder, language, _page_on_hub(model))
        )
        return (
            *(gr.Code(commands.get(line.label), visible=line.label in commands) for line in lines),
            _where(model, language),
            rendered,
        )

    return show, (*lines, where, card)


def one_liners(name: str) -> dict[str, str]:
    """How to get the weights, a line each: by huggingface_hub, by this project, and in timm.

    Args:
        name: the page's name of a model: the bundled one, OWNER/NAME or OWNER/NAME@REVISION, or a folder's.
    """
    if name == BUNDLED_NAME:
        return {
            "resnext": "import resnext; resnext.from_pretrained()",
            "timm": 'import timm; timm.create_model("local-dir:resnext/flowers", pretrained=True)',
        }
    if not is_hub_id(name):
        return {
            "resnext": f"import resnext; resnext.from_pretrained({_quoted(name)})",
            "timm": f"import timm; timm.create_model({_quoted(f'local-dir:{name}')}, pretrained=True)",
        }
    repo_id, _, revision = name.partition("@")
    pinned = f', revision="{revision}"' if revision else ""
    return {
        "huggingface_hub": f'from huggingface_hub import hf_hub_download; hf_hub_download("{repo_id}", "model.safetensors"{pinned})',
        "resnext": f'import resnext; resnext.from_pretrained("{name}")',
        "timm": f'import timm; timm.create_model("hf_hub:{name}", pretrained=True)',
    }


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _where(model: Model, language: str) -> str:
    if is_hub_id(model.plain_name):
        return ""
    text = "This model comes with the project: run these lines in its folder."
    if model.plain_name != BUNDLED_NAME:
        text = (
            "This model lies in a folder of this server, not on the Hub: the lines work beside that folder."
        )
    return f'<p class="quiet">{html.escape(say(language, text))}</p>'


def _page_on_hub(model: Model) -> str:
    """Where relative links of a README lead, or nothing."""
    repository = model.classifier.repository
    return (
        f"https://huggingface.co/{repository.name}/blob/{repository.revision}/" if repository.revision else ""
    )


class _TooSlow(Exception):
    """Markdown made to take for ever."""


def render_card(folder: pathlib.Path, language: str, page_on_hub: str = "") -> str:
    """README.md without its YAML header.

    Of HTML in it only text and pictures are left, links may be http, https or mailto, and only the repository's pictures are drawn.

    Args:
        folder: the model repository.
        language: "en" or "zh".
        page_on_hub: what relative links start with; without it they are text.
    """
    try:
        with (folder / "README.md").open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        return f'<p class="missing">{html.escape(say(language, "This repository has no README.md."))}</p>'
    note = (
        say(language, "This README is longer than 1 MiB: the rest is left out.")
        if len(content) > MAX_BYTES
        else ""
    )
    text = _FRONT_MATTER.sub("", content[:MAX_BYTES].decode("utf-8", errors="replace"), count=1)
    try:
        rendered = _markdown(_Pictures(folder), language, page_on_hub).render(text)
    except (_TooSlow, RecursionError):
        note = f"{say(language, 'This README takes too long to lay out: here is its text.')} {note}"
        rendered = f'<pre class="plain" tabindex="0">{html.escape(text)}</pre>'
    return f'<article class="card">{_paragraph(note)}{rendered}</article>'


def _paragraph(note: str) -> str:
    return f'<p class="notice">{html.escape(note.strip())}</p>' if note else ""


class _Pictures:
    """Those of a repository, drawn inside the page, as long as they are few and small.

    Args:
        folder: the model repository. A snapshot of the Hub is made of links to a folder of blobs: both are its own.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder, self.left = folder, MAX_PICTURE_BYTES
        self.own = [folder.resolve()]
        if folder.parent.name == "snapshots":
            self.own.append((folder.parent.parent / "blobs").resolve())

    def html(self, source: str, alt: str) -> str:
        """The picture, or in its place what it shows."""
        content = self._read(urllib.parse.unquote(source))
        if content:
            return Picture(content, alt).html
        return f'<span class="quiet">[{html.escape(alt)}]</span>' if alt.strip() else ""

    def _read(self, source: str) -> bytes | None:
        path = pathlib.PurePosixPath(source)
        if not source or path.is_absolute() or ".." in path.parts:
            return None
        try:
            file = self.folder / path
            if (
                not any(file.resolve(strict=True).is_relative_to(own) for own in self.own)
                or not file.is_file()
            ):
                return None
            size = file.stat().st_size
            if size > min(self.left, MAX_BYTES):
                return None
            content = file.read_bytes()
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:  # reads its header only
                if image.width * image.height > _MAX_PIXELS:
                    return None
        except (OSError, ValueError, RuntimeError, Image.DecompressionBombError):
            return None
        self.left -= size
        return content


def _markdown(pictures: _Pictures, language: str, page_on_hub: str) -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    limit = time.monotonic() + PATIENCE

    def deadline(*_) -> bool:  # a rule that matches nothing; markdown-it asks it at every place that it tries
        if time.monotonic() > limit:
            raise _TooSlow
        return False

    markdown.block.ruler.before(
        "table", "deadline", deadline, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    markdown.inline.ruler.before("text", "deadline", deadline)

    def heading(renderer, tokens, index, options, environment):  # the page has an h1 of its own
        token = tokens[index]
        token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        if token.nesting == 1:
            name = _anchor(tokens[index + 1].content)
            environment["seen"] = seen = environment.get("seen", {})
            seen[name] = seen.get(name, -1) + 1
            token.attrs["id"] = f"card-{name}-{seen[name]}" if seen[name] else f"card-{name}"
        return renderer.renderToken(tokens, index, options, environment)

    def image(renderer, tokens, index, options, environment):
        return pictures.html(str(tokens[index].attrs.get("src", "")), tokens[index].content)

    def link(renderer, tokens, index, options, environment):
        token = tokens[index]
        address = str(token.attrs.pop("href", ""))
        token.attrs.clear()
        if address.startswith("#"):
            token.attrs["href"] = f"#card-{address[1:].lower()}"
        elif re.match("(https?://|mailto:)", address, re.IGNORECASE):
            token.attrs |= {"href": address, "target": "_blank", "rel": "noopener noreferrer nofollow"}
        elif page_on_hub and re.fullmatch(r"(?!.*\.\.)\w[\w%./-]*", address, re.ASCII):
            token.attrs |= {
                "href": page_on_hub + address,
                "target": "_blank",
                "rel": "noopener noreferrer nofollow",
            }
        return renderer.renderToken(tokens, index, options, environment)

    def html_inline(renderer, tokens, index, options, environment):
        return _text_of(tokens[index].content, pictures)

    def html_block(renderer, tokens, index, options, environment):
        text = re.sub(r"(?:\s*<br>\s*)+", "<br>", _text_of(tokens[index].content, pictures).strip())
        text = text.removeprefix("<br>").removesuffix("<br>")
        return f"<p>{text}</p>\n" if text else ""

    def fence(renderer, tokens, index, options, environment):
        return f'<pre tabindex="0"><code>{html.escape(tokens[index].content)}</code></pre>\n'

    def table(renderer, tokens, index, options, environment):
        environment["tables"] = number = environment.get("tables", 0) + 1
        name = html.escape(say(language, "Table {number}", number=number))
        return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>'

    rules = {
        "heading_open": heading,
        "heading_close": heading,
        "image": image,
        "link_open": link,
        "html_block": html_block,
        "html_inline": html_inline,
        "fence": fence,
        "code_block": fence,
        "table_open": table,
        "table_close": lambda *_: "</table></div>",
    }
    for name, rule in rules.items():
        markdown.add_render_rule(name, rule)
    return markdown


def _anchor(heading: str) -> str:
    """The end of a heading's address, as the Hub and GitHub make it."""
    return urllib.parse.quote(
        re.sub(r"[^\w\- ]", "", _TAG.sub("", heading).strip().lower()).replace(" ", "-")
    )


def _text_of(markup: str, pictures: _Pictures) -> str:
    """What HTML of a stranger says: its text, and the repository's pictures in it."""
    markup = _SILENT.sub("", _COMMENT.sub("", markup))
    parts, end = [], 0
    for tag in _TAG.finditer(markup):
        parts.append(_escaped(markup[end : tag.start()]))
        end = tag.end()
        if re.match(r"<img\b", tag[0], re.IGNORECASE):
            parts.append(pictures.html(_attribute(tag[0], "src"), _attribute(tag[0], "alt")))
        elif re.match(r"<br\b|</(?:p|div|tr|li|summary|h[1-6])\b", tag[0], re.IGNORECASE):
            parts.append("<br>")
    return "".join([*parts, _escaped(markup[end:])])


def _escaped(text: str) -> str:
    return html.escape(html.unescape(text))


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf"""\s{name}\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", tag, re.IGNORECASE)
    return html.unescape(next((value for value in found.groups() if value is not None), "")) if found else ""
