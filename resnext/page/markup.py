"""HTML that the tabs share. Text from repositories and files is escaped here, and nowhere else is it put into HTML."""

import base64
import html
import io
from collections.abc import Iterable

from PIL import Image


def headline(numbers: dict[str, str]) -> str:
    """Numbers to see first, as HTML."""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
        for name, text in numbers.items()
    )
    return f'<dl class="figures">{items}</dl>'


def title(text: str) -> str:
    """A section's heading, as HTML."""
    return f'<h2 class="title">{html.escape(text)}</h2>'


def sentence(text: str, kind: str = "missing", live: bool = False, **data: str) -> str:
    """A sentence of its own, as HTML.

    Args:
        text: plain text.
        kind: a class of the style sheet.
        live: screen readers tell when it changes.
        data: for scripts.
    """
    attributes = "".join(f' data-{name}="{html.escape(value)}"' for name, value in data.items())
    return f'<p class="{kind}"{" role=status" if live else ""}{attributes}>{html.escape(text)}</p>'


def table(
    title: str,
    header: tuple[str, ...],
    rows: Iterable[tuple],
    numbers: tuple[int, ...] = (),
    *,
    titled: bool = True,
    sortable: bool = False,
    search: str = "",
) -> str:
    """An HTML table that scrolls in its own frame.

    Args:
        title: above it, and its name.
        header: names of the columns; without them, the first column names the rows.
        rows: cells; text is escaped, `Picture`s are drawn.
        numbers: columns that are set to the right.
        titled: False leaves the title to screen readers.
        sortable: the header has buttons; a script has to do what they promise.
        search: name of a field in which rows are searched for, by a script, too.
    """

    def cell(tag: str, column: int, content) -> str:
        if isinstance(content, Picture):
            return f"<{tag}>{content.html}</{tag}>"
        kind = {"✓": "right", "✗": "wrong"}.get(content[:1], "number" if column in numbers else "")
        breakable = html.escape(content).replace("/", "/<wbr>")
        if sortable and tag == "th":
            return f'<th class="{kind}" scope="col" aria-sort="none"><button type="button">{breakable}</button></th>'
        return f'<{tag} class="{kind}">{breakable}</{tag}>'

    def row(cells, first: str, other: str) -> str:
        return f"<tr>{''.join(cell(other if column else first, column, content) for column, content in enumerate(cells))}</tr>"

    head = f"<thead>{row(header, 'th', 'th')}</thead>" if header else ""
    body = "".join(row(cells, "td" if header else "th", "td") for cells in rows)
    name = html.escape(title)
    heading = f'<h2 class="title">{name}</h2>' if titled else ""
    field = (
        f'<input type="search" placeholder="{html.escape(search)}" aria-label="{html.escape(search)}">'
        if search
        else ""
    )
    return (
        f'<section>{heading}{field}<div class="scroll" tabindex="0" role="region" aria-label="{name}">'
        f"<table>{head}<tbody>{body}</tbody></table></div></section>"
    )


class Picture:
    """An image inside the page, as a data URL.

    Args:
        image: an RGB or RGBA image, or the bytes of a JPEG or PNG file.
        alt: what it shows, as plain text.
        style: CSS, trusted.
    """

    def __init__(self, image: Image.Image | bytes, alt: str, style: str = ""):
        if isinstance(image, Image.Image):
            buffer = io.BytesIO()
            image.save(buffer, "PNG" if image.mode == "RGBA" else "JPEG", quality=85)
            image = buffer.getvalue()
        kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
        data = base64.b64encode(image).decode()
        self.html = f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(alt)}" style="{style}">'


def pictures(title: str, captioned: list[tuple[Picture, str]]) -> str:
    """A grid of pictures with captions."""
    figures = "".join(
        f"<figure>{picture.html}<figcaption>{html.escape(caption)}</figcaption></figure>"
        for picture, caption in captioned
    )
    return (
        f'<section><h2 class="title">{html.escape(title)}</h2><div class="pictures">{figures}</div></section>'
    )


def album(name: str, pictures: list[tuple[Picture, str, str]]) -> str:
    """A grid of pictures that scrolls in its own frame.

    Args:
        name: for screen readers.
        pictures: each with its name and a word on it.
    """
    figures = "".join(
        f"<figure>{picture.html}<figcaption><b>{html.escape(word)}</b>"
        f'<span title="{html.escape(title)}">{html.escape(title)}</span></figcaption></figure>'
        for picture, title, word in pictures
    )
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(name)}"><div class="album">{figures}</div></div>'
