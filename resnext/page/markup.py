"""HTML that the tabs share. Text from repositories and files is escaped wherever HTML is made of it."""

import base64
import html
import io
from collections.abc import Iterable

from PIL import Image

from resnext.errors import shortened

MAX_CELL = 400  # characters of a text of unknown origin that a cell of a table shows


class Picture:
    """An image inside the page, as a data URL.

    Args:
        image: An RGB or RGBA image, or the content of a JPEG or PNG file.
        alt: The alternative text, plain text.
    """

    def __init__(self, image: Image.Image | bytes, alt: str):
        if isinstance(image, Image.Image):
            buffer = io.BytesIO()
            image.save(buffer, "PNG" if image.mode == "RGBA" else "JPEG", quality=85)
            image = buffer.getvalue()
        self.html = f'<img src="{data_url(image)}" alt="{html.escape(alt)}">'


def data_url(image: bytes) -> str:
    """The content of a JPEG or PNG file as a data URL."""
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def headline(numbers: dict[str, str]) -> str:
    """The most important numbers of a tab by their names, as HTML."""
    items = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd></div>"
        for name, text in numbers.items()
    )
    return f'<dl class="figures">{items}</dl>'


def title(text: str) -> str:
    """The heading of a section, as HTML."""
    return f'<h2 class="title">{html.escape(text)}</h2>'


def sentence(text: str, kind: str = "missing", live: bool = False, **data: str) -> str:
    """A paragraph of one sentence, as HTML.

    Args:
        text: Plain text.
        kind: A class of the style sheet.
        live: Whether screen readers announce changes of the text.
        data: Data attributes for scripts.
    """
    attributes = "".join(f' data-{name}="{html.escape(value)}"' for name, value in data.items())
    return f'<p class="{kind}"{" role=status" if live else ""}{attributes}>{html.escape(text)}</p>'


def table(
    name: str,
    header: tuple[str, ...],
    rows: Iterable[tuple["str | Picture", ...]],
    numbers: tuple[int, ...] = (),
    *,
    titled: bool = True,
    sortable: bool = False,
    search: str = "",
) -> str:
    """An HTML table that scrolls in its own frame.

    Args:
        name: The title above the table, and its name for screen readers.
        header: The names of the columns. Without them, the first column names the rows.
        rows: The cells, plain text or pictures.
        numbers: The indices of columns that are aligned to the right.
        titled: Whether the title is visible.
        sortable: Whether the header has buttons, which a script connects (static/sort_table.js).
        search: The name of a search field above the table, which a script connects, too.
    """
    head = ""
    if header:
        cell = _sort_button if sortable else _header_cell
        head = f"<tr>{''.join(cell(text, column in numbers) for column, text in enumerate(header))}</tr>"
        head = f"<thead>{head}</thead>"
    body = "".join(_row(row, numbers, named=not header) for row in rows)
    heading = title(name) if titled else ""
    text = html.escape(search)
    field = f'<input type="search" placeholder="{text}" aria-label="{text}">' if search else ""
    return (
        f'<section>{heading}{field}<div class="scroll" tabindex="0" role="region" '
        f'aria-label="{html.escape(name)}"><table>{head}<tbody>{body}</tbody></table></div></section>'
    )


def _header_cell(text: str, number: bool) -> str:
    return f'<th class="{"number" if number else ""}">{_breakable(text)}</th>'


def _sort_button(text: str, number: bool) -> str:
    kind = "number" if number else ""
    button = f'<button type="button">{_breakable(text)}</button>'
    return f'<th class="{kind}" scope="col" aria-sort="none">{button}</th>'


def _row(cells: tuple["str | Picture", ...], numbers: tuple[int, ...], named: bool) -> str:
    parts = []
    for column, content in enumerate(cells):
        tag = "th" if named and column == 0 else "td"
        if isinstance(content, Picture):
            parts.append(f"<{tag}>{content.html}</{tag}>")
            continue
        content = shortened(content, MAX_CELL)
        kind = {"✓": "correct", "✗": "wrong"}.get(content[:1], "number" if column in numbers else "")
        parts.append(f'<{tag} class="{kind}">{_breakable(content)}</{tag}>')
    return f"<tr>{''.join(parts)}</tr>"


def _breakable(text: str) -> str:
    """Text that a browser may break after a slash."""
    return html.escape(text).replace("/", "/<wbr>")


def album(name: str, pictures: list[tuple[Picture, str, str]]) -> str:
    """A grid of pictures that scrolls in its own frame.

    Args:
        name: The name for screen readers.
        pictures: The pictures, each with its name and a short text.
    """
    figures = "".join(
        f"<figure>{picture.html}<figcaption><b>{html.escape(text)}</b>"
        f'<span title="{html.escape(file)}">{html.escape(file)}</span></figcaption></figure>'
        for picture, file, text in pictures
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(name)}">'
        f'<div class="album">{figures}</div></div>'
    )
