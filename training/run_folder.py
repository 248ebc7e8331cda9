"""The output folder of `fit`: which run it holds, recipe.json, and the checkpoint of an interrupted run."""

import dataclasses
import json
import pathlib
import platform
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy

from resnext.atomic import replacing, write_atomically
from resnext.errors import RepositoryError
from resnext.repository import Repository
from resnext.results import read_history
from resnext.weights import keras_tensors, load_into_keras, read_tensors

from .data import ImageFolders
from .recipe import MAX_SEED, Recipe

if TYPE_CHECKING:
    import keras

_MAX_COMMANDS = 20  # that are kept of a pretrained network's own
# What JSON of unknown origin may raise when it is read.
_JSON_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
# The parts of recipe.json that a resumed run must have in common with the interrupted one.
_FIXED_PARTS = {"recipe": "recipe", "dataset": "data set", "pretrained": "pretrained network"}


class RunFolder:
    """The output folder of `fit`.

    Args:
        path: The folder, which need not exist yet.

    Attributes:
        checkpoint: The checkpoint of the run.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.checkpoint = Checkpoint(path / "checkpoint")
        self._recipe_file = path / "recipe.json"
        self._weights_file = path / "model.safetensors"

    @property
    def is_interrupted(self) -> bool:
        """Whether the folder holds a run that can be resumed after an epoch."""
        return self.checkpoint.path.exists() or self._is_killed_before_first_checkpoint()

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds a trained network."""
        return self._weights_file.exists() and not self.is_interrupted

    def claim(self, record: dict, *, resume: bool) -> None:
        """Writes recipe.json, if the folder is free for this run.

        Args:
            record: The content of recipe.json (`make_record`).
            resume: Whether an interrupted run is resumed. The commands of that run are kept.

        Raises:
            RepositoryError: The folder holds another run; or, to resume, none that is interrupted, or one
                with other options or images.
        """
        if resume:
            record = self._merge_interrupted(record)
        elif self.is_interrupted:
            raise RepositoryError(
                f"{self.path} holds an interrupted run: add --resume to continue it, "
                f"or choose another --output."
            )
        elif self.is_finished:
            raise RepositoryError(f"{self.path} already holds a trained network: choose another --output.")
        write_atomically(self._recipe_file, json.dumps(record, indent=2) + "\n")

    def release(self) -> None:
        """Removes recipe.json, so that the folder can be claimed with another recipe."""
        self._recipe_file.unlink()

    def recorded_batch_size(self) -> int | None:
        """The batch size of the run in the folder; None if there is no run."""
        if not self._recipe_file.exists():
            return None
        return json.loads(self._recipe_file.read_bytes())["recipe"]["batch_size"]

    def _merge_interrupted(self, record: dict) -> dict:
        if not self._recipe_file.exists() or self.is_finished:
            raise RepositoryError(f"{self.path} has no interrupted run: leave --resume out to start one.")
        interrupted = json.loads(self._recipe_file.read_bytes())
        current = json.loads(json.dumps(record))  # tuples become lists, as in the file
        for part, title in _FIXED_PARTS.items():
            if current[part] != interrupted.get(part):
                differences = _differences(interrupted.get(part), current[part])
                raise RepositoryError(
                    f"{self.path} was started with another {title} ({differences}): "
                    f"resume with the same options and images."
                )
        return {**record, "commands": [*interrupted["commands"], *record["commands"][-1:]]}

    def _is_killed_before_first_checkpoint(self) -> bool:
        """Whether the first epoch's weights are there, but not its checkpoint."""
        try:
            epochs = json.loads(self._recipe_file.read_bytes())["recipe"]["epochs"]
            return self._weights_file.exists() and len(read_history(self.path)) <= 1 < epochs
        except (OSError, ValueError, KeyError, TypeError):
            return False


class Checkpoint:
    """The state after the last finished epoch: weights, optimizer state and number of epochs.

    Args:
        folder: The folder of the file `state.safetensors`.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.path = folder / "state.safetensors"

    def save(self, model: "keras.Model", epoch: int) -> None:
        """Saves the state of a compiled model.

        Args:
            model: The model.
            epoch: The number of finished epochs.
        """
        state = {f"model/{key}": value for key, value in keras_tensors(model).items()}
        for index, variable in enumerate(model.optimizer.variables):
            state[f"optimizer/{index}"] = variable.numpy()
        for name, variable in _random_states(model).items():
            state[f"random/{name}"] = variable.numpy()
        state["epoch"] = np.array(epoch)
        contiguous = {key: np.array(value, order="C") for key, value in state.items()}
        with replacing(self.path) as beside:
            safetensors.numpy.save_file(contiguous, beside)

    def restore(self, model: "keras.Model") -> int:
        """Restores the state into a compiled model.

        Args:
            model: The model, compiled with the same optimizer.

        Returns:
            The number of finished epochs.
        """
        state = read_tensors(self.path)
        weights = {
            key.removeprefix("model/"): value for key, value in state.items() if key.startswith("model/")
        }
        load_into_keras(model, weights, self.path)
        model.optimizer.build(model.trainable_variables)
        for index, variable in enumerate(model.optimizer.variables):
            variable.assign(state[f"optimizer/{index}"])
        for name, variable in _random_states(model).items():
            variable.assign(state[f"random/{name}"])
        return int(state["epoch"])

    def remove(self) -> None:
        """Removes the checkpoint, if there is one."""
        self.path.unlink(missing_ok=True)
        if self.folder.is_dir():
            self.folder.rmdir()


def _random_states(model: "keras.Model") -> dict[str, "keras.Variable"]:
    """The state of each layer that draws random numbers (stochastic depth), by the name of the layer."""
    return {
        layer.name: layer.seed_generator.state for layer in model.layers if hasattr(layer, "seed_generator")
    }


def make_record(
    data: ImageFolders,
    recipe: Recipe,
    pretrained: Repository | None,
    hardware: str,
    commands: Iterable[str],
) -> dict:
    """Makes the content of recipe.json: everything that is needed to train the network again.

    Args:
        data: The data set.
        recipe: The recipe.
        pretrained: The network that training starts from, if any. Its own commands come first.
        hardware: A sentence on the hardware.
        commands: The command lines of this run.
    """
    import keras
    import tensorflow as tf

    origin = None
    commands = list(commands)
    if pretrained:
        commands = [*recorded_commands(pretrained.folder), *commands]
        # The path of a local folder is private: only its name is recorded.
        name = pretrained.name if pretrained.revision else pretrained.folder.resolve().name
        origin = {"name": name, "revision": pretrained.revision}
    return {
        "commands": commands,
        "pretrained": origin,
        "recipe": dataclasses.asdict(recipe),
        "dataset": {
            "name": data.root.resolve().name,
            "fingerprint": data.fingerprint(),
            "images": {name: len(split) for name, split in data.splits.items()},
        },
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        "hardware": hardware,
    }


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
        return [command for command in commands[-_MAX_COMMANDS:] if _is_training_command(command)]
    except _JSON_ERRORS:
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
    except _JSON_ERRORS:
        return 0
    return seed if isinstance(seed, int) and 0 <= seed <= MAX_SEED else 0


def _is_training_command(command: str) -> bool:
    return (
        command.startswith(("python -m training ", "resnext "))
        and command.isprintable()
        and command == shlex.join(shlex.split(command))
    )


def _differences(before: object, now: object) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        changed = [key for key in now if now[key] != before.get(key)]
        return "; ".join(f"{key} {before.get(key)}, not {now[key]}" for key in changed)
    return f"{before}, not {now}"
