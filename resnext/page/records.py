"""From a file of a repository to a value, or to a sentence that tells the visitor why there is none."""

import os
import pathlib
from collections.abc import Callable
from typing import Any

from resnext import results
from resnext.page.i18n import translate, translate_setting
from resnext.page.markup import sentence, table

MAX_BYTES = {**results.MAX_BYTES, "recipe.json": 2**20}


def read(path: pathlib.Path, parse: Callable[[str], Any], otherwise: str, language: str = "en") -> Any:
    """Reads and parses a file of a repository, whose content is untrusted.

    Args:
        path: The file.
        parse: Makes a value of the file's text. Raises one of `results.READ_ERRORS` if the text is invalid.
        otherwise: What is missing on the page without the file, the end of an English sentence.
        language: "en" or "zh".

    Returns:
        The value; or a sentence as HTML if the repository does not have the file or the file is invalid.
    """
    values = {"file": path.name, "otherwise": translate(language, otherwise)}
    # Opening a named pipe would block forever.
    if not os.path.isfile(path):
        return sentence(translate(language, "This repository has no {file}, so {otherwise}.", **values))
    try:
        return parse(results.read_text(path, MAX_BYTES[path.name]))
    except results.READ_ERRORS as error:
        text = "The {file} of this repository cannot be read ({fault}), so {otherwise}."
        return sentence(translate(language, text, fault=f"{type(error).__name__}: {error}", **values))


def parse_epochs(text: str) -> list[dict[str, float]]:
    """The rows of history.csv, of which there is at least one."""
    rows = results.parse_history(text)
    if not rows:
        raise ValueError("it has no rows")
    return rows


def recipe_tables(text: str, language: str = "en") -> str:
    """recipe.json as HTML tables: the settings, the data set, the versions and the hardware."""
    values = results.parse_json(text)
    dataset = values["dataset"]
    data = {"name": dataset["name"]}
    data |= {f"{split} images": count for split, count in dataset["images"].items()}
    data |= {"fingerprint": dataset["fingerprint"][:12]}
    machine = {**values["versions"], "hardware": values["hardware"]}
    recipe = _table("Recipe", values["recipe"], language)
    others = _table("Data set", data, language) + _table("Software and hardware", machine, language)
    return f'<div class="tables">{recipe}<div class="tables">{others}</div></div>'


def _table(title: str, section: dict[str, Any], language: str) -> str:
    rows = [(translate_setting(language, key), _as_text(value, language)) for key, value in section.items()]
    return table(translate(language, title), (), rows)


def _as_text(value: Any, language: str) -> str:
    if isinstance(value, bool):
        return translate(language, "yes" if value else "no")
    if isinstance(value, list):
        return ", ".join(_as_text(item, language) for item in value)
    return f"{value:,g}" if isinstance(value, float) else str(value)
