"""What recipe.json of a model repository records of its training, read as a file of any origin."""

import json
import math
import pathlib
import shlex

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
        At most the last 20 commands; none if there is no recipe.json, or an invalid one.
    """
    try:
        commands = json.loads((folder / "recipe.json").read_bytes())["commands"]
        return [command for command in commands[-MAX_COMMANDS:] if _is_training_command(command)]
    except JSON_ERRORS:
        return []


def recorded_seed(folder: pathlib.Path) -> int:
    """Reads the seed that a network was trained with, which also split its data set if that was one folder.

    Args:
        folder: The model repository.

    Returns:
        The seed; 0 if there is no recipe.json, or an invalid one.
    """
    try:
        seed = json.loads((folder / "recipe.json").read_bytes())["recipe"]["seed"]
    except JSON_ERRORS:
        return 0
    return seed if isinstance(seed, int) and 0 <= seed <= MAX_SEED else 0


def recorded_temperature(folder: pathlib.Path) -> float:
    """Reads the temperature that a network's classifier was divided by from its recipe.json.

    Args:
        folder: The model repository.

    Returns:
        The temperature; 1 if there is no recipe.json, or it has none.
    """
    try:
        temperature = float(json.loads((folder / "recipe.json").read_bytes())["calibration"]["temperature"])
    except JSON_ERRORS:
        return 1.0
    return temperature if 0 < temperature < math.inf else 1.0


def _is_training_command(command: str) -> bool:
    return (
        command.startswith(("python -m training ", "resnext "))
        and command.isprintable()
        and command == shlex.join(shlex.split(command))
    )
