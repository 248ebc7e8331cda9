"""Prepares class names for figures: one short line each, in installed fonts that have the characters."""

import dataclasses
import functools
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from unicodedata import east_asian_width, normalize

from matplotlib.font_manager import FontEntry, FontManager, FontProperties, findfont, fontManager, get_font

DEJAVU = "DejaVu Sans"  # comes with Matplotlib


def drawable(labels: Iterable[str], width: int) -> tuple[dict[str, str], list[str], str]:
    """Prepares names for drawing.

    Joining Arabic and Indic letters is left to Matplotlib, which does so from version 3.11 on.

    Args:
        labels: The names, which may hold any text.
        width: The number of columns that each may take.

    Returns:
        The text to draw for each label, the font families to draw it with, and a note for the figure if no
        installed font has some of the characters, or else "". Such characters are escaped, as Python does.
    """
    lines = {label: one_line(label) for label in labels}
    families, missing = _choose_fonts(set().union(*lines.values()) - {" "})
    escapes = {ord(character): character.encode("unicode_escape").decode() for character in missing}
    names = dict(zip(lines, shorten([line.translate(escapes) for line in lines.values()], width)))
    if not missing:
        return names, families, ""
    example = min(escapes.values())
    return names, families, f"No installed font has {len(missing)} of the characters,\nsuch as {example}."


def _choose_fonts(characters: set[str]) -> tuple[list[str], set[str]]:
    """Chooses font families for Matplotlib, which draws each character with the first that has it.

    Args:
        characters: The characters to draw, without white space.

    Returns:
        The families, DejaVu Sans first, and the characters that no installed font has.
    """
    families = [DEJAVU]
    dejavu = get_font(findfont(FontProperties(family=families)))
    missing = {character for character in characters if not dejavu.get_char_index(ord(character))}
    glyphs = {font: _glyphs(font, missing) for font in (_installed_fonts() if missing else ())}
    # The fewest fonts, so that the characters of a name look alike.
    while useful := [font for font in glyphs if glyphs[font] & missing]:
        best = max(useful, key=lambda font: len(glyphs[font] & missing))
        missing -= glyphs[best]
        # Its path becomes the name of its family. By the real name, Matplotlib could find another file, and
        # it logs a warning if there is no regular weight.
        alias = dataclasses.replace(best, name=best.fname, weight=400)
        if alias not in fontManager.ttflist:
            fontManager.ttflist.append(alias)
        families.append(alias.name)
    return families, missing


@functools.cache
def _installed_fonts() -> list[FontEntry]:
    """Lists the upright fonts of this machine, those that go best with DejaVu Sans first."""
    # `fontManager` does not know fonts that were installed after the first use of Matplotlib. Of a file with
    # several fonts, `get_font` opens the first.
    fonts = {font.fname: font for font in reversed(FontManager().ttflist) if font.style == "normal"}
    return sorted(
        # Last Resort has a box for every character.
        (font for font in fonts.values() if "Last Resort" not in font.name),
        key=lambda font: ("Sans" not in font.name, abs(font.weight - 400), font.name),
    )


def _glyphs(font: FontEntry, characters: set[str]) -> set[str]:
    face = get_font(font.fname)
    known = (character for character in characters if face.get_char_index(ord(character)))
    # Fonts of colored pictures have empty outlines.
    return {character for character in known if face.load_char(ord(character)).width}


def shorten(labels: Iterable[str], width: int) -> list[str]:
    """Shortens labels to one line of at most `width` columns each, without control characters.

    A list of synonyms ("great white shark, white shark, ...") becomes its first name, unless two labels would
    become the same. Any other long label loses its middle, or another part if that keeps more labels apart.

    Args:
        labels: The labels, which may hold any text.
        width: The number of columns. An East Asian character takes two.
    """
    lines = [one_line(label) for label in labels]
    first_names = Counter(line.split(",")[0] for line in lines)
    for index, line in enumerate(lines):
        first = line.split(",")[0]
        if columns(line) > width and first and first_names[first] == 1:
            lines[index] = first
    ends = (width // 3, width // 2, width - 1, 0)
    end = max(ends, key=lambda end: len({_cut(line, width, end) for line in lines}))
    return [_cut(line, width, end) for line in lines]


def _cut(line: str, width: int, end: int) -> str:
    """Cuts a line to at most `width` columns, the last `end` of which show its end."""
    if columns(line) <= width:
        return line
    return f"{_start(line, width - 1 - end).rstrip()}…{_start(line[::-1], end)[::-1].lstrip()}"


def one_line(text: str) -> str:
    """Composes accents, makes each white space one space, and removes what cannot be printed."""
    return "".join(filter(str.isprintable, " ".join(normalize("NFC", text).split())))


def columns(text: str) -> int:
    """Counts the columns that a text takes: two for an East Asian character, one for any other."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _start(text: str, width: int) -> str:
    """Returns the first characters of a text, as many as fit into `width` columns."""
    return text[: bisect_right(list(accumulate(map(columns, text))), width)]
