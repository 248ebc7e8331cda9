"""Command line options of the settings of a recipe, made from the fields of `Recipe`."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from .recipe import RECIPES, Recipe, option_name

_PANEL = "Settings of the recipe"
_SMALLEST = {"image_size": 32, "train_size": 32}  # what five strides of 2 leave a pixel of


def recipe_options(command: Callable) -> Callable:
    """Gives a command an option for each setting of a recipe that it does not have already.

    Args:
        command: A function with `**settings`, which gets the value of each option, or None if it was not
            given.

    Returns:
        The same function, with the signature that Typer reads.
    """
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    names = {parameter.name for parameter in own}
    for field in dataclasses.fields(Recipe):
        if field.name not in names:
            annotation = Annotated[_option_type(field) | None, _option(field)]
            kind = inspect.Parameter.KEYWORD_ONLY
            own.append(inspect.Parameter(field.name, kind, default=None, annotation=annotation))
    command.__signature__ = signature.replace(parameters=own)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    return command


def default_in_recipes(name: str) -> str:
    """The default of a setting in each recipe, as `--help` shows it."""
    values = {recipe: getattr(RECIPES[recipe], name) for recipe in RECIPES}
    if len(set(values.values())) == 1:
        return f"(default: {_shown(next(iter(values.values())))})"
    return f"(default: {', '.join(f'{recipe} {_shown(value)}' for recipe, value in values.items())})"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _option_type(field: dataclasses.Field):
    choices = field.metadata["choices"]
    return Literal[*choices] if choices else field.type


def _option(field: dataclasses.Field) -> Any:
    name = option_name(field.name)
    declarations = [f"--{name}/--no-{name}"] if field.type is bool else [f"--{name}"]
    limits = {}
    if field.type in (int, float):
        least = _SMALLEST.get(field.name, field.metadata["min"])
        limits = {"min": least, "max": field.metadata["max"]}
    text = f"{field.metadata['help']} {default_in_recipes(field.name)}"
    metavar = {int: "N", float: "X", tuple[float, float, float]: "R G B"}.get(field.type)
    return typer.Option(
        *declarations, help=text, metavar=metavar, rich_help_panel=_PANEL, show_default=False, **limits
    )
