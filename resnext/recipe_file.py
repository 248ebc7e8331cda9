"""What recipe.json of a model repository records of its training, read as a file of any origin."""

import json
import pathlib
import shlex
import sys
from typing import Any

from resnext.repository import is_of_other_weights

MAX_COMMANDS = 20  # that are kept of a pretrained network's own
MAX_SEED = 2**32 - 1  # the largest that NumPy takes
# What JSON of unknown origin may raise when it is read.
JSON_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def recorded_commands(folder: pathlib.Path) -> list[str]:
    """Reads the commands that trained a network from its recipe.json, which may be of any origin.

    They are shown for people to run again, so a line that a shell would take for anything but one `python -m
    training` command is left out.

    Args:
        folder: The model repository.

    Returns:
        At most the last 20 commands; none if recipe.json is missing or invalid.
    """
    commands = _recorded(folder, "commands")
    try:
        return [command for command in commands[-MAX_COMMANDS:] if _is_training_command(command)]
    except JSON_ERRORS:
        return []


def recorded_seed(folder: pathlib.Path) -> int:
    """Reads the seed that a network was trained with, which also split its data set if that was one folder.

    Args:
        folder: The model repository.

    Returns:
        The seed; 0 if recipe.json is missing or invalid.
    """
    seed = _recorded(folder, "recipe", "seed")
    return seed if isinstance(seed, int) and 0 <= seed <= MAX_SEED else 0


def recorded_temperature(folder: pathlib.Path) -> float:
    """Reads the temperature that a network's classifier was divided by from its recipe.json.

    Args:
        folder: The model repository.

    Returns:
        The temperature; 1 if recipe.json is missing or invalid, does not have it, or has that of other
        weights.
    """
    if is_of_other_weights(folder, _recorded(folder, "calibration", "weights_sha256")):
        return 1.0
    temperature = _recorded(folder, "calibration", "temperature")
    is_number = isinstance(temperature, (int, float))
    return float(temperature) if is_number and 0 < temperature <= sys.float_info.max else 1.0


def _recorded(folder: pathlib.Path, *keys: str) -> Any:
    """The value at nested keys of recipe.json; None if the file is missing, invalid, or does not have it."""
    try:
        value = json.loads((folder / "recipe.json").read_bytes())
        for key in keys:
            value = value[key]
    except JSON_ERRORS:
        return None
    return value


def _is_training_command(command: str) -> bool:
    return (
        command.startswith(("python -m training ", "resnext "))
        and command.isprintable()
        and command == shlex.join(shlex.split(command))
    )
