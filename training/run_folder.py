"""The output folder of `fit`: the state of its run, recipe.json, and the checkpoint of an interrupted run."""

import contextlib
import dataclasses
import json
import pathlib
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import filelock
import numpy as np
import safetensors

from resnext.atomic import UNFINISHED, write_atomically
from resnext.errors import DataError, ImageError, RepositoryError, ResNeXtError, WeightsError
from resnext.recipe_file import JSON_ERRORS, MAX_COMMANDS, recorded_commands
from resnext.repository import Repository
from resnext.results import write_history
from resnext.weights import keras_tensors, load_into_keras, read_tensors, save_tensors, write_safetensors

from .data import ImageFolders
from .recipe import Recipe

if TYPE_CHECKING:
    import keras

PRIVATE = ".run"  # the folder of what is not published: lock, state and digests of the training images
STATES = ("training", "trained", "tested", "published")
# A page that follows the run tries its lock now and then, and holds it for an instant.
_LOCK_SECONDS = 0.5
# The parts of recipe.json that a resumed run must have in common with the interrupted one.
_FIXED_PARTS = {"recipe": "recipe", "dataset": "data set", "pretrained": "pretrained network"}


class RunFolder:
    """The output folder of `fit`, and the state of its run.

    The state is one of `STATES`, in .run/state.json: a run that is `training` has finished the epochs of its
    checkpoint, if it has one; a `trained` one has its weights; a `tested` one also its evaluation (if it has
    a test set) and its model card; a `published` one is on the Hub.

    Args:
        path: The folder, which need not exist yet.

    Attributes:
        checkpoint: The checkpoint of the run.
        is_claimed: Whether the folder has the run's files (`claim`), unless it was removed meanwhile.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.checkpoint = Checkpoint(path / "checkpoint")
        self.is_claimed = False
        self._recipe_file = path / "recipe.json"
        self._private = path / PRIVATE
        self._state_file = self._private / "state.json"

    @property
    def state(self) -> str | None:
        """The state of the run; None if the folder holds no run."""
        try:
            state = json.loads(self._state_file.read_bytes())["state"]
            return state if state in STATES else None
        except JSON_ERRORS:
            pass
        if (self.path / "model.safetensors").is_file() and not self.checkpoint.path.exists():
            return "trained"  # a repository from elsewhere, or of a version without this file
        return "training" if self._recipe_file.exists() else None

    @property
    def published_to(self) -> str | None:
        """The Hub repository that the run was pushed to; None if it was not."""
        try:
            return json.loads(self._state_file.read_bytes())["repository"]
        except JSON_ERRORS:
            return None

    def set_state(self, state: str, repository: str | None = None) -> None:
        """Records that the run has come to a state.

        Args:
            state: One of `STATES`.
            repository: The Hub repository of a published run.
        """
        self.check_still_there()
        values = {"state": state} | ({"repository": repository} if repository else {})
        write_atomically(self._state_file, json.dumps(values) + "\n")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other processes out of the folder. Locking it again in the same process is allowed.

        Raises:
            RepositoryError: Another process uses the folder, or it cannot be written.
        """
        try:
            self._private.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self._private / "lock", timeout=_LOCK_SECONDS, is_singleton=True)
            lock.acquire()
        except filelock.Timeout:
            raise RepositoryError(
                f"{self.path} is in use by another process: wait until it ends, or choose another folder."
            ) from None
        except OSError as error:
            raise RepositoryError(
                f"{self.path} cannot be used as an output folder ({error.strerror}): choose another --output."
            ) from None
        try:
            yield
        finally:
            lock.release()
            if not lock.is_locked:
                self._remove_if_empty()

    def check_free(self) -> None:
        """Checks that a new run can be started in the folder.

        Raises:
            RepositoryError: The folder holds a run that has finished an epoch or ended.
        """
        state = self.state
        if state == "training" and self.checkpoint.path.exists():
            raise RepositoryError(
                f"{self.path} holds an interrupted run: add --resume to continue it, or choose another "
                "--output."
            )
        if state not in (None, "training"):
            raise RepositoryError(f"{self.path} already holds a trained network: choose another --output.")

    def claim(self, record: dict, *, resume: bool) -> None:
        """Writes recipe.json, if the folder is free for this run, and removes what killed writers left.

        Args:
            record: The content of recipe.json (`make_record`).
            resume: Whether the run in the folder is continued. Its commands are kept.

        Raises:
            RepositoryError: The folder holds another run; or, to resume, none, or one with other options or
                images.
        """
        state = self.state
        if resume:
            record = self._merge_run(record)
        else:
            self.check_free()
        self.sweep()
        write_atomically(self._recipe_file, json.dumps(record, indent=2) + "\n")
        self.is_claimed = True
        if state is None:
            write_atomically(self._state_file, json.dumps({"state": "training"}) + "\n")

    def record(self, part: str, values: dict) -> None:
        """Writes a part of recipe.json that is known only after training.

        Args:
            part: Its name.
            values: Its content.
        """
        record = json.loads(self._recipe_file.read_bytes())
        write_atomically(self._recipe_file, json.dumps({**record, part: values}, indent=2) + "\n")

    def finish_training(self) -> None:
        """Records that the network is trained, and removes the checkpoint."""
        self.set_state("trained")
        self.checkpoint.remove()

    def sweep(self) -> None:
        """Removes the unfinished files of writers that were killed, and a checkpoint that is not needed."""
        for file in self.path.rglob(UNFINISHED):
            file.unlink(missing_ok=True)
        if self.state not in (None, "training"):
            self.checkpoint.remove()

    def commit(self, state: "State", progress: "Progress") -> None:
        """Saves the state after an epoch, or within one: all of it in one file, which is renamed into place.

        Args:
            state: The state of the model (`collect_state`).
            progress: The epochs until now, and the best weights.

        Raises:
            RepositoryError: The folder is gone.
        """
        self.check_still_there()
        self.checkpoint.save(state, progress)
        self.write_results(progress)

    def write_results(self, progress: "Progress") -> None:
        """Writes the best weights and history.csv of a checkpoint, as far as they are not there yet."""
        if progress.rows:
            write_history(progress.rows, self.path)
        if progress.best_is_new:
            save_tensors(progress.best, self.path / "model.safetensors", "float16")

    def repair(self) -> None:
        """Writes the best weights and history.csv of an interrupted run again.

        A run that was killed between its checkpoint and these files has older ones.
        """
        if self.state == "training" and self.checkpoint.path.exists():
            self.write_results(self.checkpoint.read_progress())

    def recorded_batch_size(self) -> int | None:
        """The batch size of the run in the folder; None if there is no run."""
        try:
            return int(json.loads(self._recipe_file.read_bytes())["recipe"]["batch_size"])
        except JSON_ERRORS:
            return None

    def _merge_run(self, record: dict) -> dict:
        if self.state is None:
            raise RepositoryError(f"{self.path} has no interrupted run: leave --resume out to start one.")
        weights = self.path / "model.safetensors"
        if self.state != "training" and not weights.is_file():
            raise RepositoryError(
                f"{weights} is missing, although the network is trained: restore it from a copy, or train "
                "again with another --output."
            )
        try:
            before = json.loads(self._recipe_file.read_bytes())
            commands = [*before["commands"], *record["commands"][-1:]]
        except JSON_ERRORS:
            fault = "corrupt" if self._recipe_file.exists() else "missing"
            raise RepositoryError(
                f"{self._recipe_file} is {fault}: restore it from a copy, or choose another --output."
            ) from None
        current = json.loads(json.dumps(record))  # tuples become lists, as in the file
        if isinstance(before.get("recipe"), dict):
            before["recipe"] = _with_new_settings(before["recipe"], current["recipe"])
        # More images also change a recipe that follows from their number: all parts are named.
        changed = [part for part in _FIXED_PARTS if current[part] != before.get(part)]
        if changed:
            titles = " and ".join(_FIXED_PARTS[part] for part in changed)
            raise RepositoryError(
                f"{self.path} was started with another {titles}: resume with the same options and images. "
                "The differences:",
                [line for part in changed for line in _differences(before.get(part), current[part])],
            )
        return {**before, **record, "commands": commands[-MAX_COMMANDS:]}

    def _remove_if_empty(self) -> None:
        """Removes the lock's folder if it holds nothing else, and then the output folder if it is empty."""
        if [*self._private.glob("*")] == [self._private / "lock"]:
            shutil.rmtree(self._private, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def is_recorded(self) -> bool:
        """Whether the folder has a recipe.json, which every run begins with."""
        return self._recipe_file.exists()

    def check_still_there(self) -> None:
        """Checks that the folder of a claimed run was not removed.

        Raises:
            RepositoryError: It was, or it was emptied.
        """
        if not self.is_recorded():
            raise RepositoryError(
                f"{self.path} was removed or emptied during the run: start it again without --resume."
            )


@contextlib.contextmanager
def can_be_continued(run: RunFolder, report: Callable[[str], object]) -> Iterator[None]:
    """Says how to continue a run that a signal or the file system ends.

    Args:
        run: The run.
        report: Called with a line if it is a signal.

    Raises:
        RepositoryError: A file cannot be written, for example because the disk is full, or the folder was
            removed.
        DataError: An image was removed or changed since it was found.
        BrokenPipeError: The program that reads standard output has ended.
    """
    run.is_claimed = run.is_claimed or run.is_recorded()
    try:
        yield
    except KeyboardInterrupt:
        if run.state:
            report("Continue with the same command and --resume.")
        raise
    except BrokenPipeError:
        print("The output pipe was closed: continue with the same command and --resume.", file=sys.stderr)
        raise
    except (ResNeXtError, OSError) as error:
        if run.is_claimed:
            run.check_still_there()
        raise _with_next_step(error, run) from None


def _with_next_step(error: ResNeXtError | OSError, run: RunFolder) -> ResNeXtError:
    if isinstance(error, ImageError):
        return DataError(
            f"{error} It was removed or changed during training: put it back, then continue with the same "
            "command and --resume."
        )
    if isinstance(error, OSError):
        return RepositoryError(
            f"{error.filename or run.path} cannot be written ({error.strerror or error}): make room, then "
            f"continue with the same command and --resume."
        )
    return error


@dataclasses.dataclass
class Progress:
    """How far a run has come.

    Args:
        rows: The rows of history.csv: one for each finished epoch, and of fine-tuning one for its start.
        step: The number of steps of the next epoch that are done, too.
        best: The weights of the best epoch under timm's keys, float16 or float32; empty before the first.
        best_is_new: Whether model.safetensors does not have them yet.
        metrics: The values of the metrics' variables after those steps.
    """

    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)
    step: int = 0
    best: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    best_is_new: bool = False
    metrics: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return int(self.rows[-1]["epoch"]) if self.rows else 0


# The state of a compiled model: arrays by name.
State = dict[str, np.ndarray]


def collect_state(model: "keras.Model") -> State:
    """Reads the state of a compiled model. Of several workers, all have to: some of it is a sum over them."""
    weights = {f"model/{key}": value for key, value in keras_tensors(model).items()}
    return weights | {name: variable.numpy() for name, variable in _further_state(model).items()}


class Checkpoint:
    """The state of an interrupted run in one file: weights, optimizer, random states, metrics, best weights.

    Keras' BackupAndRestore keeps neither the history nor the best weights, so that a kill between its file
    and theirs leaves files of different epochs.

    Args:
        folder: The folder of the file `state.safetensors`.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.path = folder / "state.safetensors"

    def save(self, state: State, progress: Progress) -> None:
        """Saves the state of a model.

        Args:
            state: The state (`collect_state`).
            progress: How far it has come.
        """
        tensors = state | {f"best/{key}": value for key, value in progress.best.items()}
        metadata = {"history": json.dumps(progress.rows), "step": str(progress.step)}
        write_safetensors(tensors, self.path, metadata)

    def restore(self, model: "keras.Model") -> Progress:
        """Restores the state into a compiled model.

        Args:
            model: The model, compiled with the same optimizer.

        Raises:
            WeightsError: The file is corrupt.
        """
        progress, state = self._read()
        load_into_keras(model, _part(state, "model/"), self.path)
        model.optimizer.build(model.trainable_variables)
        for name, variable in _further_state(model).items():
            if name not in state or state[name].shape != tuple(variable.shape):
                raise self._corrupt(f"it has no valid {name}")
            variable.assign(state[name])
        progress.metrics = [variable.numpy() for variable in model.metrics_variables]
        return progress

    def read_progress(self) -> Progress:
        """Reads how far the run has come.

        Raises:
            WeightsError: The file is corrupt.
        """
        return self._read()[0]

    def remove(self) -> None:
        """Removes the checkpoint, if there is one."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> tuple[Progress, dict[str, np.ndarray]]:
        try:
            state = read_tensors(self.path)
            with safetensors.safe_open(self.path, "numpy") as file:
                metadata = file.metadata()
            rows = json.loads(metadata["history"])
            step = int(metadata["step"])
        except WeightsError as error:
            raise self._corrupt(str(error)) from None
        except (*JSON_ERRORS, safetensors.SafetensorError) as error:
            raise self._corrupt(type(error).__name__) from None
        return Progress(rows, step, _part(state, "best/"), best_is_new=bool(rows)), state

    def _corrupt(self, fault: str) -> WeightsError:
        return WeightsError(
            f"{self.path} is not a valid checkpoint ({fault}): delete the folder {self.folder.name}/, and "
            f"--resume trains from the beginning."
        )


def _part(state: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _with_new_settings(before: dict, current: dict) -> dict:
    """A recipe of an earlier version, which is what it is with the defaults of the settings that are new."""
    defaults = json.loads(json.dumps(dataclasses.asdict(Recipe())))
    return {name: defaults[name] for name in current if name in defaults} | before


def _further_state(model: "keras.Model") -> dict[str, "keras.Variable"]:
    """All that a run depends on but its weights, by a name in the checkpoint.

    The optimizer, the states of random layers (stochastic depth), the averaged weights, and the metrics of
    an epoch that is not finished.
    """
    groups = {
        "optimizer": model.optimizer.variables,
        "random": [layer.seed_generator.state for layer in model.layers if hasattr(layer, "seed_generator")],
        "average": [*model.averages, model.averaged_steps] if getattr(model, "averages", None) else [],
        "metric": model.metrics_variables,
    }
    return {
        f"{group}/{index}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
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
        # In the order of config.json's label_names.
        "class_images": {name: data.counts(name).tolist() for name in data.splits},
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        "hardware": hardware,
    }


def _differences(before: object, now: object) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        changed = [key for key in now if now[key] != before.get(key)]
        return [f"{key}: {before.get(key)} before, {now[key]} now" for key in changed]
    return [f"{before} before, {now} now"]
