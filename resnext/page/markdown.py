"""A repository's README as HTML that can neither run anything nor load anything from other servers."""

import html
import io
import pathlib
import re
import time
import urllib.parse

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from PIL import Image

from resnext.page.i18n import join_sentences, translate
from resnext.page.markup import Picture
from resnext.repository import is_inside

# Of the README, and of one picture in it.
MAX_BYTES = 2**20
# Of all pictures.
MAX_PICTURE_BYTES = 2**22
# Of one picture: a visitor's browser has to hold it.
_MAX_PIXELS = 25_000_000
# Seconds. A README of 100 kB takes a tenth of one.
PATIENCE = 3
_EXTERNAL = {"target": "_blank", "rel": "noopener noreferrer nofollow"}
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_SILENT = re.compile(
    r"<(script|style|template|iframe|object|svg|math|title)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<(?:[a-zA-Z/!?][^<>]*)>")
_FRONT_MATTER = re.compile(
    r"\A\ufeff?---[ \t]*\r?\n.*?^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)


class _TooSlow(Exception):
    """The README is made to take very long to render."""


def render_card(folder: pathlib.Path, language: str, files_on_hub: str = "") -> str:
    """Renders README.md without its YAML header.

    Of the HTML in it, only text and pictures remain. Links have to be http, https or mailto. Only pictures of
    the repository are shown.

    Args:
        folder: The model repository.
        language: "en" or "zh".
        files_on_hub: The address that relative links start with; without it, they become text.
    """
    try:
        with (folder / "README.md").open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        missing = html.escape(translate(language, "This repository has no README.md."))
        return f'<p class="missing">{missing}</p>'
    notes = []
    if len(content) > MAX_BYTES:
        notes.append(translate(language, "This README is longer than 1 MiB: only the beginning is shown."))
    text = _FRONT_MATTER.sub("", content[:MAX_BYTES].decode("utf-8", errors="replace"), count=1)
    settings = {"pictures": _Pictures(folder), "language": language, "files_on_hub": files_on_hub}
    try:
        rendered = _markdown().render(text, settings)
    except (_TooSlow, RecursionError):
        notes.insert(
            0, translate(language, "This README takes too long to render: it is shown as plain text.")
        )
        rendered = f'<pre class="plain" tabindex="0">{html.escape(text)}</pre>'
    notice = f'<p class="notice">{html.escape(join_sentences(language, notes))}</p>' if notes else ""
    return f'<article class="card">{notice}{rendered}</article>'


class _Pictures:
    """The pictures of a repository, as long as they are few and small.

    Args:
        folder: The model repository.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.bytes_left = MAX_PICTURE_BYTES

    def html(self, source: str, alt: str) -> str:
        """The picture as HTML; its alternative text if it cannot be shown."""
        content = self._read(urllib.parse.unquote(source))
        if content:
            return Picture(content, alt).html
        return f'<span class="quiet">[{html.escape(alt)}]</span>' if alt.strip() else ""

    def _read(self, source: str) -> bytes | None:
        path = pathlib.PurePosixPath(source)
        if not source or path.is_absolute() or ".." in path.parts:
            return None
        try:
            content = self._read_own(self.folder / path)
        except (OSError, ValueError, RuntimeError, Image.DecompressionBombError):
            return None
        self.bytes_left -= len(content or b"")
        return content

    def _read_own(self, file: pathlib.Path) -> bytes | None:
        if not file.is_file() or not is_inside(file, self.folder):
            return None
        if file.stat().st_size > min(self.bytes_left, MAX_BYTES):
            return None
        content = file.read_bytes()
        # Reads the header only.
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            return content if image.width * image.height <= _MAX_PIXELS else None


def _markdown() -> MarkdownIt:
    """A Markdown parser and renderer that stops after `PATIENCE` seconds."""
    markdown = MarkdownIt("commonmark", {"html": True}, renderer_cls=_CardRenderer)
    markdown.enable(["table", "strikethrough"])
    limit = time.monotonic() + PATIENCE

    # A rule that never matches: markdown-it tries it at every position of the text.
    def deadline(*_) -> bool:
        if time.monotonic() > limit:
            raise _TooSlow
        return False

    places = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    markdown.block.ruler.before("table", "deadline", deadline, places)
    markdown.inline.ruler.before("text", "deadline", deadline)
    return markdown


class _CardRenderer(RendererHTML):
    """Renders untrusted Markdown. The methods are named after markdown-it's tokens; `env` has settings."""

    def heading_open(self, tokens, index, options, env) -> str:
        """A heading one level lower, because the page has an h1 of its own, with an anchor."""
        token = tokens[index]
        token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        name = _anchor(tokens[index + 1].content)
        seen = env.setdefault("anchors", {})
        seen[name] = seen.get(name, -1) + 1
        token.attrs["id"] = f"card-{name}-{seen[name]}" if seen[name] else f"card-{name}"
        return self.renderToken(tokens, index, options, env)

    def heading_close(self, tokens, index, options, env) -> str:
        """The end of such a heading."""
        token = tokens[index]
        token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        return self.renderToken(tokens, index, options, env)

    def image(self, tokens, index, options, env) -> str:
        """A picture of the repository, or its alternative text."""
        return env["pictures"].html(str(tokens[index].attrs.get("src", "")), tokens[index].content)

    def link_open(self, tokens, index, options, env) -> str:
        """A link to a heading, to a website or to a file of the repository; any other loses its address."""
        token = tokens[index]
        address = str(token.attrs.pop("href", ""))
        token.attrs.clear()
        if address.startswith("#"):
            token.attrs["href"] = f"#card-{address[1:].lower()}"
        elif re.match("(https?://|mailto:)", address, re.IGNORECASE):
            token.attrs |= {"href": address, **_EXTERNAL}
        elif env["files_on_hub"] and re.fullmatch(r"(?!.*\.\.)\w[\w%./-]*", address, re.ASCII):
            token.attrs |= {"href": env["files_on_hub"] + address, **_EXTERNAL}
        return self.renderToken(tokens, index, options, env)

    def html_inline(self, tokens, index, options, env) -> str:
        """The text of HTML inside a paragraph."""
        return _text_of(tokens[index].content, env["pictures"])

    def html_block(self, tokens, index, options, env) -> str:
        """The text of a block of HTML."""
        text = _text_of(tokens[index].content, env["pictures"]).strip()
        text = re.sub(r"(?:\s*<br>\s*)+", "<br>", text).removeprefix("<br>").removesuffix("<br>")
        return f"<p>{text}</p>\n" if text else ""

    def fence(self, tokens, index, options, env) -> str:
        """A block of code, which the keyboard can scroll."""
        return f'<pre tabindex="0"><code>{html.escape(tokens[index].content)}</code></pre>\n'

    def code_block(self, tokens, index, options, env) -> str:
        """An indented block of code."""
        return self.fence(tokens, index, options, env)

    def table_open(self, tokens, index, options, env) -> str:
        """A table in a frame that scrolls."""
        env["tables"] = env.get("tables", 0) + 1
        name = html.escape(translate(env["language"], "Table {number}", number=env["tables"]))
        return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table>'

    def table_close(self, tokens, index, options, env) -> str:
        """The end of such a table."""
        return "</table></div>"


def _anchor(heading: str) -> str:
    """The anchor of a heading, as the Hub and GitHub make it."""
    return urllib.parse.quote(
        re.sub(r"[^\w\- ]", "", _TAG.sub("", heading).strip().lower()).replace(" ", "-")
    )


def _text_of(markup: str, pictures: _Pictures) -> str:
    """The text of untrusted HTML, and the pictures of the repository in it."""
    markup = _SILENT.sub("", _COMMENT.sub("", markup))
    parts = []
    end = 0
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
