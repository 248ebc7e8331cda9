"""Output folders of training: states, locks, interrupted runs, checkpoints, and recipe.json of any origin."""

import dataclasses
import json
import shutil
import subprocess
import sys
import threading

import filelock
import keras
import numpy as np
import pytest

from resnext.atomic import UNFINISHED
from resnext.errors import RepositoryError, WeightsError
from resnext.keras_model import build_model
from resnext.recipe_file import recorded_commands, recorded_seed, recorded_temperature
from resnext.repository import weights_digest
from resnext.results import read_history
from resnext.weights import keras_tensors, save_tensors
from tests.helpers.paths import ROOT
from tests.helpers.training import RECIPE
from tests.training.helpers import TINY, Killed, die_when, train
from training.run_folder import (
    STATES,
    Checkpoint,
    Progress,
    RunFolder,
    _further_state,
    collect_state,
)


def record_of(**recipe):
    """The content of recipe.json, as far as a folder compares it."""
    return {"recipe": recipe, "dataset": {}, "pretrained": None, "commands": ["resnext fit x"]}


def digest(folder):
    """What a run has made: its weights, and its history without the seconds."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in read_history(folder)]
    return weights_digest(folder), rows


@pytest.fixture(scope="module")
def undisturbed(photographs, base, tmp_path_factory):
    return train(photographs, tmp_path_factory.mktemp("runs") / "out", RECIPE, pretrained=base)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "after"),
    [("state.safetensors", False), ("state.safetensors", True), ("model.safetensors", False)],
)
def test_a_run_killed_at_a_write_ends_like_an_undisturbed_one(
    file, after, photographs, base, undisturbed, tmp_path, monkeypatch
):
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        die_when(patch, file, after)
        with pytest.raises(Killed):
            train(photographs, output, RECIPE, pretrained=base)
    (output / "checkpoint" / ".writing-x.safetensors").touch()  # what SIGKILL leaves of an unfinished file
    train(photographs, output, RECIPE, pretrained=base, resume=True)
    assert digest(output) == digest(undisturbed)
    assert not list(output.rglob(UNFINISHED))
    assert not (output / "checkpoint").exists()
    assert RunFolder(output).state == "trained"


def test_the_states_of_a_run(tmp_path):
    run = RunFolder(tmp_path / "out")
    assert run.state is None
    run.claim(record_of(epochs=1), resume=False)
    assert run.state == "training"
    run.finish_training()
    (run.path / "model.safetensors").touch()
    for state in STATES[1:]:
        run.set_state(state)
        assert RunFolder(tmp_path / "out").state == state
        run.claim(record_of(epochs=1), resume=True)
        assert run.state == state, "it is continued from there"
        with pytest.raises(RepositoryError, match="already holds a trained network: choose another --output"):
            run.claim(record_of(epochs=1), resume=False)
    commands = json.loads((tmp_path / "out" / "recipe.json").read_bytes())["commands"]
    assert commands == ["resnext fit x"] * 4


def test_a_folder_is_claimed_again_until_an_epoch_is_finished(tmp_path):
    run = RunFolder(tmp_path / "out")
    run.claim(record_of(epochs=1), resume=False)
    run.claim(record_of(epochs=2), resume=False)
    run.checkpoint.folder.mkdir()
    run.checkpoint.path.touch()
    with pytest.raises(RepositoryError, match="interrupted run: add --resume to continue it"):
        run.claim(record_of(epochs=2), resume=False)


def test_resuming_with_another_recipe_lists_all_differences(tmp_path):
    run = RunFolder(tmp_path / "out")
    with pytest.raises(RepositoryError, match="no interrupted run: leave --resume out"):
        run.claim(record_of(), resume=True)
    run.claim(record_of(**{f"setting_{index}": index for index in range(60)}), resume=False)
    with pytest.raises(RepositoryError, match="another recipe: resume with the same options") as error:
        run.claim(record_of(**{f"setting_{index}": -1 - index for index in range(60)}), resume=True)
    assert len(str(error.value).splitlines()) == 61
    assert "setting_59: 59 before, -60 now" in str(error.value)
    more_images = record_of(setting_0=1) | {"dataset": {"fingerprint": "f"}}
    with pytest.raises(RepositoryError, match="with another recipe and data set: resume .*") as error:
        run.claim(more_images, resume=True)
    assert str(error.value).splitlines()[1:] == [
        "  setting_0: 0 before, 1 now",
        "  fingerprint: None before, f now",
    ]
    (tmp_path / "out" / "recipe.json").write_text("{")
    with pytest.raises(RepositoryError, match="recipe.json is corrupt: restore it from a copy, or choose"):
        run.claim(record_of(), resume=True)
    (tmp_path / "out" / "recipe.json").unlink()
    with pytest.raises(RepositoryError, match="recipe.json is missing: restore it from a copy, or choose"):
        run.claim(record_of(), resume=True)


def test_a_setting_that_an_earlier_version_lacked_has_its_default(tmp_path):
    run = RunFolder(tmp_path / "out")
    run.claim(record_of(epochs=3), resume=False)
    run.claim(record_of(epochs=3, freeze_at=0, mean=(0.485, 0.456, 0.406)), resume=True)
    run = RunFolder(tmp_path / "other")
    run.claim(record_of(epochs=3), resume=False)
    with pytest.raises(RepositoryError, match="another recipe") as error:
        run.claim(record_of(epochs=3, freeze_at=2), resume=True)
    assert str(error.value).splitlines()[1:] == ["  freeze_at: 0 before, 2 now"]


def test_two_processes_cannot_use_one_folder(tmp_path):
    program = """
import pathlib, sys
from training.run_folder import RunFolder
with RunFolder(pathlib.Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"locked\n"
        with (
            pytest.raises(RepositoryError, match="out is in use by another process"),
            RunFolder(tmp_path / "out").lock(),
        ):
            pass
        other.kill()
        other.wait()
        with RunFolder(tmp_path / "out").lock(), RunFolder(tmp_path / "out").lock():
            pass  # a killed process holds no lock, and one process may lock twice
    finally:
        other.kill()
        other.communicate()
    assert not (tmp_path / "out").exists(), "nothing was written, so nothing is left"


def test_a_page_that_tries_the_lock_keeps_no_run_from_starting(tmp_path):
    run = RunFolder(tmp_path / "out")
    with run.lock():
        run.claim(record_of(), resume=False)
    tried = filelock.FileLock(tmp_path / "out" / ".run" / "lock", thread_local=False)
    tried.acquire()
    threading.Timer(0.1, tried.release).start()
    with run.lock():
        assert run.state == "training"


def test_an_output_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(RepositoryError, match="cannot be used as an output folder"),
        RunFolder(tmp_path / "file" / "out").lock(),
    ):
        pass


def test_a_folder_removed_during_a_run_is_not_made_again(tmp_path):
    run = RunFolder(tmp_path / "out")
    run.claim(record_of(), resume=False)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(RepositoryError, match="was removed or emptied during the run"):
        run.set_state("trained")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def compiled():
    """Makes the same compiled model with stochastic depth again and again, trained for some steps."""

    def make(steps):
        keras.utils.set_random_seed(0)
        model = build_model(dataclasses.replace(TINY, drop_path_rate=0.5), label_names=("a", "b"))
        schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
        model.compile(keras.optimizers.SGD(schedule, momentum=0.9), "mse", metrics=["accuracy"])
        rng = np.random.default_rng(0)
        x = rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32")
        y = np.eye(2, dtype="float32")[[0, 1, 0, 1]]
        model.train_on_batch(x, y)
        for _ in range(steps - 1):
            model.train_on_batch(x, y)
        return model, x, y

    return make


@pytest.mark.slow
def test_a_checkpoint_restores_the_whole_state_bit_for_bit(compiled, tmp_path):
    model, x, y = compiled(3)
    rows = [{"epoch": 1, "val_loss": 0.1 + 0.2}]
    best = {"fc.weight": np.ones((2, 3), "float16")}
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    checkpoint.save(collect_state(model), Progress(rows, step=7, best=best))
    other, *_ = compiled(1)
    progress = checkpoint.restore(other)
    assert (progress.rows, progress.step, progress.epoch) == (rows, 7, 1)
    assert progress.best["fc.weight"].dtype == "float16"
    assert int(other.optimizer.iterations) == 3
    for state, same in zip(_further_state(model).items(), _further_state(other).items(), strict=True):
        assert state[0] == same[0]
        assert np.array_equal(state[1].numpy(), same[1].numpy()), state[0]
    assert any(name.startswith("random/") for name in _further_state(model))
    model.train_on_batch(x, y)
    other.train_on_batch(x, y)
    for before, after in zip(model.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(before, after)


@pytest.fixture(scope="module")
def model(compiled):
    """One of them, trained for one step."""
    return compiled(1)[0]


@pytest.mark.hostile
@pytest.mark.parametrize("content", ["empty", "half", "noise", "weights"])
def test_a_corrupt_checkpoint_is_one_line_with_the_next_step(content, model, tmp_path):
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    checkpoint.save(collect_state(model), Progress([{"epoch": 1}]))
    whole = checkpoint.path.read_bytes()
    broken = {"empty": b"", "half": whole[: len(whole) // 2], "noise": bytes(range(256)) * 99}
    if content == "weights":
        save_tensors(keras_tensors(model), checkpoint.path)
    else:
        checkpoint.path.write_bytes(broken[content])
    with pytest.raises(WeightsError, match="delete the folder checkpoint/, and --resume trains from"):
        checkpoint.restore(model)


@pytest.mark.hostile
@pytest.mark.parametrize("seed", ["-1", "1e400", '"7"', "[" * 10**5, "4294967296"])
def test_an_invalid_recorded_seed_counts_as_0(seed, tmp_path):
    (tmp_path / "recipe.json").write_text(f'{{"recipe": {{"seed": {seed}}}}}')
    assert recorded_seed(tmp_path) == 0


@pytest.mark.parametrize("temperature", ["null", '"0.5"', "-1", "0", "NaN", "1e999", "1" + "0" * 400, "[]"])
def test_an_invalid_recorded_temperature_counts_as_1(temperature, tmp_path):
    (tmp_path / "recipe.json").write_text(f'{{"calibration": {{"temperature": {temperature}}}}}')
    assert recorded_temperature(tmp_path) == 1


SHELL_TRICKS = ("; curl x | sh", " $(id)", " `id`", " > x", " 'x", " x &")


@pytest.mark.hostile
@pytest.mark.parametrize(
    "recipe_json",
    [
        "[]",
        "{",
        '{"commands": "python -m training x"}',
        '{"commands": ["```", "python -m training x\\n```"]}',
        '{"commands": [1]}',
        "[" * 10**5,
        *(json.dumps({"commands": [f"python -m training fit x{trick}"]}) for trick in SHELL_TRICKS),
        *(json.dumps({"commands": [f"resnext fit x{trick}"]}) for trick in SHELL_TRICKS),
    ],
)
def test_a_hostile_recipe_json_adds_no_command(recipe_json, tmp_path):
    (tmp_path / "recipe.json").write_text(recipe_json)
    assert recorded_commands(tmp_path) == []


def test_the_last_twenty_commands_of_a_pretrained_network_are_kept(tmp_path):
    commands = [f"python -m training fit 'my photographs' --output {index}" for index in range(30)]
    (tmp_path / "recipe.json").write_text(json.dumps({"commands": commands}))
    assert recorded_commands(tmp_path) == commands[10:]
