"""How far the run that a page follows has come, in states and in words."""

import csv
import json
import os
import pathlib
import shutil
import time

import filelock
import pytest

from resnext.page.models import BUNDLED_NAME
from resnext.page.runs import Run, Status, duration
from resnext.page.tabs.history import HistoryTab
from resnext.page.upkeep import Upkeep, open_models
from resnext.results import HISTORY_COLUMNS
from tests.helpers.repositories import make_repository
from tests.helpers.users import other_user


def write_history(folder, epochs, first=1):
    with (folder / "history.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HISTORY_COLUMNS)
        for epoch in range(first, epochs + 1):
            rows.writerow((epoch, 1.0, 0.5, 1.0 / (epoch + 1), 0.5, 0.1, 60))


def set_state(folder, state):
    (folder / ".run").mkdir(parents=True, exist_ok=True)
    (folder / ".run" / "state.json").write_text(json.dumps({"state": state}), "utf-8")
    (folder / ".run" / "lock").touch()


@pytest.fixture
def run(tmp_path):
    """A run of ten epochs that has begun."""
    folder = tmp_path / "my-model"
    set_state(folder, "training")
    (folder / "recipe.json").write_text(json.dumps({"recipe": {"epochs": 10}}), "utf-8")
    return Run(folder)


def test_a_folder_without_a_run_is_waited_for(tmp_path):
    run = Run(tmp_path / "later")
    assert run.look() == run.look()
    assert run.status == Status()
    assert run.in_words("en") == "Waiting for a training in later."


def test_a_running_training_is_told_from_one_that_was_killed(run):
    write_history(run.folder, 4, first=0)
    with filelock.FileLock(run.folder / ".run" / "lock"):
        run.look()
    assert run.status == Status("training", 4, 10, pytest.approx(360, abs=20))
    assert run.in_words("en") == "Training: 4 of 10 epochs. About 6 min left."
    assert run.in_words("zh") == "训练中：已完成 4 / 10 轮。约剩 6 分钟。"
    run.look()
    assert run.status == Status("interrupted", 4, 10)
    assert "interrupted after 4 of 10 epochs: the same command with --resume" in run.in_words("en")


def test_the_time_since_the_last_epoch_counts(run):
    write_history(run.folder, 4)
    with filelock.FileLock(run.folder / ".run" / "lock"):
        for passed, left in ((100, 260), (1000, 0)):
            os.utime(run.folder / "history.csv", 2 * (time.time() - passed,))
            run.look()
            assert run.status.seconds_left == pytest.approx(left, abs=5)


@pytest.mark.parametrize(
    "state, locked, expected",
    [
        ("trained", True, "testing"),
        ("trained", False, "untested"),
        ("tested", False, "finished"),
        ("published", True, "finished"),
    ],
)
def test_a_trained_network_is_tested_or_finished(run, state, locked, expected):
    write_history(run.folder, 10)
    set_state(run.folder, state)
    lock = filelock.FileLock(run.folder / ".run" / "lock")
    if locked:
        lock.acquire()
    run.look()
    lock.release()
    assert (run.status.state, run.status.epoch) == (expected, 10)
    assert run.in_words("zh") != run.in_words("en")


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", '{"state": 3}'])
def test_damaged_files_of_a_run_end_in_no_error(run, content):
    for name in ("history.csv", "recipe.json", ".run/state.json"):
        (run.folder / name).write_text(content, "utf-8")
    run.look()
    assert run.status.epoch == 0
    assert run.in_words("en")


def test_durations_are_in_the_unit_that_fits():
    assert [duration(seconds, "en") for seconds in (0, 50, 100, 7000, 8000)] == [
        "0 s",
        "50 s",
        "2 min",
        "117 min",
        "2 h 13 min",
    ]
    assert duration(8000, "zh") == "2 小时 13 分钟"


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """The upkeep of a page that follows a folder which does not exist yet, without its thread."""
    monkeypatch.setattr(Upkeep, "_start", lambda *_: None)
    keepers = []
    monkeypatch.setattr(
        Upkeep, "open_run", lambda self, original=Upkeep.open_run: (keepers.append(self), original(self))
    )
    said = []
    open_models(None, watch=tmp_path / "run", report=said.append)
    assert said == ["The training in run has no weights yet. Until then, this page shows the bundled model."]
    return keepers[0]


def test_the_bundled_model_stands_in_until_a_run_has_weights(followed, tmp_path, ask):
    models = followed.models
    assert (models.first, models.open(None).name) == ("run", BUNDLED_NAME)
    make_repository(tmp_path / "run")
    followed.look_at_run()
    assert (models.warning, models.open(None).name) == ("", "run")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_run_that_closes_its_folder_is_followed_on(followed, tmp_path, ask):
    make_repository(tmp_path / "run")
    os.chmod(tmp_path / "run", 0)
    with other_user():
        followed.look_at_run()
    os.chmod(tmp_path / "run", 0o755)
    assert followed.models.open(None).name == BUNDLED_NAME
    followed.look_at_run()
    assert followed.models.open(None).name == "run"


def test_new_weights_are_loaded_and_new_epochs_keep_the_network(followed, tmp_path, ask):
    models = followed.models
    folder = make_repository(tmp_path / "run")
    set_state(folder, "training")
    followed.look_at_run()
    tab = HistoryTab(models)
    before = models.open(None)
    filled = ("run", before.version, "en")
    assert "14 of 20" in tab.show(before, "en")[0]

    write_history(folder, 3)
    followed.look_at_run()
    after = models.open(None)
    assert after is not before
    assert after.classifier is before.classifier
    assert after.version != before.version
    tab.outputs = (None,) * 7
    _, now, numbers, *_ = tab.fill("run", filled, "training", ask())
    assert now == ("run", after.version, "en")
    assert "3 of 3" in numbers

    shutil.copy(folder / "model.safetensors", tmp_path / "new.safetensors")
    (tmp_path / "new.safetensors").replace(folder / "model.safetensors")
    os.utime(folder / "model.safetensors")
    followed.look_at_run()
    assert models.open(None).classifier is not before.classifier
    same = models.open(None)
    followed.look_at_run()
    assert models.open(None) is same


def test_weights_that_cannot_be_loaded_leave_the_open_ones(followed, tmp_path):
    folder = make_repository(tmp_path / "run")
    followed.look_at_run()
    before = followed.models.open(None)
    said = []
    followed.report = said.append
    for content in (b"broken", b"broken again"):
        (folder / "model.safetensors").write_bytes(content)
        followed.look_at_run()
        followed.look_at_run()
    assert followed.models.open(None) is before
    assert len(set(said)) == len(said)
    assert "is not a valid safetensors file" in said[0]


def test_a_relative_folder_is_not_taken_for_a_repository_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Upkeep, "_start", lambda *_: None)
    monkeypatch.setattr(Upkeep, "open_from_hub", lambda *_: pytest.fail("the Hub was asked"))
    models = open_models(None, watch=pathlib.Path("runs/one"), report=str)
    assert models.first == "one"
