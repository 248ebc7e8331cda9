"""`fit --push-every`: the Hub gets the best weights during a run, and training never waits for it."""

import json
import shutil
import threading
import time

import pytest
from huggingface_hub import ModelCard

from resnext import hub_requests
from resnext.errors import RepositoryError
from resnext.results import write_history
from resnext.weights import save_tensors
from tests.helpers.hub_client import until
from tests.helpers.hub_server import TOKEN, File, HubServer, in_this_process
from tests.helpers.repositories import random_tensors
from tests.helpers.training import run_training
from training.background_push import BackgroundPush
from training.cli import _Publication
from training.push import PushOptions

REPO = "tester/colors"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(hub_requests, "MAX_WAIT", 2)
    with HubServer() as server, in_this_process(server.url, tmp_path / "home"):
        yield server


class Run:
    """An output folder whose weights change with each epoch, and the callback."""

    def __init__(self, folder, config, every=1):
        self.folder = folder
        self.config = config
        self.lines = []
        options = PushOptions(private=True, license="mit")
        self.callback = BackgroundPush(folder, REPO, options, every, self.lines.append)

    def epoch(self, number):
        """Ends an epoch, and returns the seconds that the callback has taken."""
        config = self.config
        tensors = random_tensors(config.architecture, config.num_classes, seed=number)
        save_tensors(tensors, self.folder / "model.safetensors")
        row = {"loss": 1, "accuracy": 0, "val_loss": 1, "val_accuracy": 0, "learning_rate": 0.1, "seconds": 1}
        write_history([{"epoch": number, **row}], self.folder)
        began = time.monotonic()
        self.callback.on_epoch_end(number - 1)
        return time.monotonic() - began

    def wait(self):
        self.callback._thread.join()


@pytest.fixture
def run(tiny_repository, tiny_config):
    return Run(tiny_repository, tiny_config)


def messages(hub):
    bodies = [body for body in hub.bodies if b'"summary"' in body]
    return [json.loads(body.splitlines()[0])["value"]["summary"] for body in bodies]


def test_the_best_weights_are_on_the_hub_after_every_nth_epoch(hub, tiny_repository, tiny_config):
    run = Run(tiny_repository, tiny_config, every=2)
    for number in range(1, 5):
        run.epoch(number)
        if number % 2 == 0:
            run.wait()
            files = hub.repos["model", REPO].find("main")[2]
            assert files["model.safetensors"].content == (tiny_repository / "model.safetensors").read_bytes()
    run.callback.finish()
    assert messages(hub) == ["Epoch 2", "Epoch 4"]
    assert [line.split(" to http")[0] for line in run.lines] == ["Epoch 2 was pushed", "Epoch 4 was pushed"]
    assert hub.repos["model", REPO].private
    card = ModelCard(hub.repos["model", REPO].find("main")[2]["README.md"].content.decode())
    assert card.data.license == "mit"
    assert not (tiny_repository / "README.md").exists()
    assert not (tiny_repository / ".run" / "push").exists()


def test_a_hub_that_hangs_does_not_slow_training(hub, run):
    hub.gates["/api/"] = threading.Event()
    assert max(run.epoch(number) for number in range(1, 4)) < 1
    assert not run.lines
    hub.gates.pop("/api/").set()
    run.callback.finish()
    assert messages(hub) == ["Epoch 1"], "while one push is under way, no other one begins"


@pytest.mark.parametrize("status, words", [(503, "The Hub failed"), ("reset", "cannot be reached")])
def test_a_hub_that_is_down_is_said_and_tried_again(status, words, hub, run):
    hub.fail_next(99, status, "", Retry_After=3600)
    assert run.epoch(1) < 1
    run.wait()
    hub.faults.clear()
    run.epoch(2)
    run.callback.finish()
    assert run.lines[0].startswith("Epoch 1 was not pushed; training continues. ")
    assert words in run.lines[0]
    assert run.lines[1].startswith("Epoch 2 was pushed to ")


def test_later_epochs_do_not_change_what_is_being_pushed(hub, run):
    hub.gates["/api/whoami"] = threading.Event()
    run.epoch(1)
    first = (run.folder / "model.safetensors").read_bytes()
    run.epoch(2)
    hub.gates.pop("/api/whoami").set()
    run.callback.finish()
    assert hub.repos["model", REPO].find("main")[2]["model.safetensors"].content == first


def test_a_run_that_is_removed_during_a_push_is_said_and_leaves_nothing(hub, run):
    hub.gates["/validate-yaml"] = threading.Event()
    run.epoch(1)
    until(lambda: any("/api/models" in path for _, path in hub.requests))
    shutil.rmtree(run.folder)
    hub.gates.pop("/validate-yaml").set()
    run.wait()
    run.callback.finish()
    assert [line.partition("; training continues. ")[0] for line in run.lines] == ["Epoch 1 was not pushed"]
    assert not hub.repos


def test_words_that_are_written_during_a_run_reach_the_hub(hub, run):
    card = run.folder / "README.md"

    def text():
        return hub.repos["model", REPO].find("main")[2]["README.md"].content.decode()

    for number in (1, 2):
        card.write_text(f"# Mine\n\nOf epoch {number}.\n")
        run.epoch(number)
        run.wait()
        assert f"Of epoch {number}." in text()
    repo = hub.repos["model", REPO]
    _, tip, files = repo.find("main")
    theirs = File((text() + "\nTheirs.\n").encode())
    repo.add("refs/heads/main", {**files, "README.md": theirs}, tip, "edited")
    for number in (3, 4):  # the card here does not have these words yet
        run.epoch(number)
        run.wait()
    run.callback.finish()
    assert card.read_text() == "# Mine\n\nOf epoch 2.\n"
    result = run_training("push", run.folder, REPO)
    assert "changed both" not in result.stderr
    assert text() == card.read_text()
    assert "Of epoch 2." in text()
    assert "Theirs." in text()


def test_a_result_that_cannot_be_pushed_comes_with_the_command(hub, tiny_repository):
    hub.fail_next(99, 500, "/commit/", Retry_After=3600)
    publication = _Publication(REPO, PushOptions(license="mit"), 0)
    command = f"python -m training push {tiny_repository} {REPO} --license mit"
    with pytest.raises(RepositoryError, match=f"HTTP 500.*Nothing has to be trained again: {command}$"):
        publication.push(tiny_repository)
    hub.faults.clear()
    again = run_training(*command.split()[3:])
    assert again.returncode == 0, again.stderr
    assert hub.repos["model", REPO].find("main")[2]["model.safetensors"]


@pytest.mark.parametrize(
    "options, words",
    [
        (("--private",), "give the Hub repository with --push-to-hub, too"),
        (("--license", "mit"), "give the Hub repository with --push-to-hub, too"),
        (("--push-every", 1), "give the Hub repository with --push-to-hub, too"),
    ],
)
def test_options_of_a_push_need_a_repository(options, words, photographs, tmp_path):
    result = run_training("fit", photographs, "--output", tmp_path / "out", *options)
    assert result.returncode == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_what_the_final_push_needs_is_checked_before_training(photographs, hub, tiny_repository, tmp_path):
    def fit(*options):
        result = run_training("fit", photographs, "--output", tmp_path / "out", "--push-to-hub", *options)
        assert result.returncode == 1
        assert TOKEN not in result.stdout + result.stderr
        assert not (tmp_path / "out").exists()
        return result.stderr

    assert "does not accept the metadata of its card" in fit(REPO, "--license", "free")
    assert not hub.repos
    assert run_training("push", tiny_repository, REPO).returncode == 0
    assert "tester/colors is public, so nothing was pushed" in fit(REPO, "--private")
    assert "neither somebody nor in an organization" in fit("somebody/x")
    hub.roles["tester"] = "read"
    assert "your token can only read" in fit(REPO)
