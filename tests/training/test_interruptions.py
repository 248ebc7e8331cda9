"""What ends a run too early: signals, a full disk, missing files, an infinite loss, a Hub that fails."""

import dataclasses
import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys

import keras
import pytest
from typer.testing import CliRunner

from resnext.errors import ConfigError, DataError, ImageError, RepositoryError
from resnext.results import read_history
from tests.helpers.forks import training_python
from tests.helpers.hub_server import TOKEN, HubServer, environment
from tests.helpers.paths import ROOT
from tests.helpers.photographs import paint
from tests.helpers.training import RECIPE, run_training
from tests.training.helpers import quiet, train
from training import calibration, ood, pipeline
from training import evaluate as evaluation
from training import fit as fit_module
from training.cli import app
from training.data import find_images
from training.plan import StepTimer, show_plan
from training.run_folder import RunFolder

OPTIONS = ("--epochs", "3", "--batch-size", "8", "--image-size", "64")


def command(data, base, output, *options):
    """The arguments of a short run of the tiny network."""
    paths = (str(data), "--output", str(output), "--pretrained", str(base.folder))
    return ["fit", *paths, *OPTIONS, "--no-pictures", *options]


class During(keras.callbacks.Callback):
    """Does something after the first epoch."""

    def __init__(self, action):
        super().__init__()
        self.action = action

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.action()


def start(arguments) -> subprocess.Popen:
    """Starts the command line in a process whose output can be read while it runs."""
    return subprocess.Popen(
        [*training_python(), "-m", "training", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_run_after_its_step_and_says_how_to_continue(
    number, status, photographs, base, tmp_path
):
    arguments = command(photographs, base, tmp_path / "out")
    process = start(arguments)
    for line in process.stdout:
        if line.startswith("epoch 1/3"):
            process.send_signal(number)
            break
    output, errors = process.communicate()
    assert process.returncode == status
    assert output.splitlines()[-1] == "Continue with the same command and --resume."
    assert "Traceback" not in errors
    if number == signal.SIGTERM:
        return
    resumed = run_training(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming after" in resumed.stdout
    assert read_history(tmp_path / "out")[-1]["epoch"] == 3


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_run_continues_with_room(photographs, base, tmp_path):
    arguments = command(photographs, base, tmp_path / "out", "--epochs", "1")
    most = 100_000  # bytes of a file; the checkpoint has more
    full = run_training(
        *arguments,
        python=[sys.executable],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )
    assert full.returncode == 1
    assert "cannot be written (File too large): make room, then continue" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    resumed = run_training(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert read_history(tmp_path / "out")[-1]["epoch"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_an_image_removed_during_training_is_named(split, base, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "free_memory", lambda: 0)  # every image is read in every epoch
    data = paint(tmp_path / "data")
    file = data / split / "red" / "1.jpg"
    recipe = dataclasses.replace(RECIPE, epochs=8)  # the first ones may have been read already
    callbacks = [During(lambda: file.rename(tmp_path / "away.jpg"))]
    with pytest.raises(
        DataError, match=r"red/1.jpg .* removed or changed during training: put it back"
    ) as error:
        train(data, tmp_path / "out", recipe, pretrained=base, callbacks=callbacks)
    assert len(str(error.value).splitlines()) == 1
    (tmp_path / "away.jpg").rename(file)
    train(data, tmp_path / "out", recipe, pretrained=base, resume=True)
    assert read_history(tmp_path / "out")[-1]["epoch"] == 8


@pytest.mark.parametrize(
    ("moment", "split"),
    [
        ("fit_probe", "train"),
        ("calibrate", "val"),
        ("fit_run_detector", "train"),
    ],
)
def test_an_image_removed_beside_the_epochs_is_named(moment, split, photographs, base, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_CALIBRATION_IMAGES", 1)
    monkeypatch.setattr(ood, "MIN_IMAGES", 1)
    data = shutil.copytree(photographs, tmp_path / "data")
    file = data / split / "red" / "1.jpg"
    content = file.read_bytes()
    recipe = dataclasses.replace(RECIPE, batch_size=36, epochs=0, probe_passes=1, detect_unknown=True)
    do = getattr(fit_module, moment)

    def remove_and_do(*arguments):
        file.unlink()
        return do(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(f"training.fit.{moment}", remove_and_do)
        with pytest.raises(DataError, match=r"red/1.jpg .*: put it back, then continue with .*--resume\.$"):
            train(data, tmp_path / "out", recipe, pretrained=base)
    file.write_bytes(content)
    train(data, tmp_path / "out", recipe, pretrained=base, resume=True)
    assert RunFolder(tmp_path / "out").state == "trained"


def test_an_image_removed_before_the_first_batch_is_drawn_is_named(photographs, base, tmp_path, monkeypatch):
    data = shutil.copytree(photographs, tmp_path / "data")
    recipe = dataclasses.replace(RECIPE, batch_size=36)
    make_model = fit_module.Training.make_model

    def remove_and_make(training):
        (data / "train" / "red" / "1.jpg").unlink()
        return make_model(training)

    monkeypatch.setattr("training.fit.Training.make_model", remove_and_make)
    with pytest.raises(DataError, match=r"red/1.jpg .*: put it back, then continue with .*--resume\.$"):
        train(data, tmp_path / "out", recipe, pretrained=base, pictures=True)


def test_an_image_removed_during_a_dry_run_is_named(photographs, base, tmp_path):
    data = find_images(shutil.copytree(photographs, tmp_path / "data"))
    (tmp_path / "data" / "train" / "red" / "1.jpg").unlink()
    recipe = dataclasses.replace(RECIPE, batch_size=36)
    with pytest.raises(ImageError, match="red/1.jpg does not exist"):
        show_plan(data, tmp_path / "out", recipe, pretrained=base, report=quiet)


@pytest.mark.slow
def test_an_output_folder_removed_during_training_is_one_line(photographs, base, tmp_path):
    output = tmp_path / "out"
    callbacks = [During(lambda: shutil.rmtree(output))]
    with pytest.raises(RepositoryError, match="was removed or emptied during the run: start it again"):
        train(photographs, output, RECIPE, pretrained=base, callbacks=callbacks)


@pytest.mark.parametrize(
    "moment", ["fit.fit_probe", "fit.calibrate", "fit.fit_run_detector", "cli._evaluate"]
)
def test_an_output_folder_removed_beside_the_epochs_is_one_line(
    moment, photographs, base, tmp_path, monkeypatch
):
    output = tmp_path / "out"
    module, name = moment.split(".")
    do = getattr(importlib.import_module(f"training.{module}"), name)

    def remove_and_do(*arguments, **options):
        shutil.rmtree(output)
        return do(*arguments, **options)

    monkeypatch.setattr(calibration, "MIN_CALIBRATION_IMAGES", 1)
    monkeypatch.setattr(ood, "MIN_IMAGES", 1)
    monkeypatch.setattr(f"training.{moment}", remove_and_do)
    options = ("--recipe", "probe", "--epochs", "0", "--probe-passes", "1")
    result = run_training(*command(photographs, base, output, *options))
    assert result.returncode == 1
    message = f"{output} was removed or emptied during the run: start it again without --resume."
    assert result.stderr.splitlines() == [f"python -m training: {message}"]
    assert not output.exists()


@pytest.mark.slow
def test_an_output_that_is_not_read_any_more_is_one_line(photographs, base, tmp_path):
    arguments = command(photographs, base, tmp_path / "out")
    process = start(arguments)
    for line in process.stdout:
        if line.startswith("No GPU found"):
            process.stdout.close()  # as `| head` does
            break
    with process.stderr as stream:
        assert stream.read().splitlines() == [
            "The output pipe was closed: continue with the same command and --resume."
        ]
    assert process.wait() == 1


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_at_once(photographs, base, tmp_path):
    recipe = dataclasses.replace(RECIPE, learning_rate=1e12, warmup_epochs=0)
    words = r"The loss is (nan|inf) in (step \d of epoch|the validation after epoch) 1, at a learning rate of"
    with pytest.raises(ConfigError, match=words):
        train(photographs, tmp_path / "out", recipe, pretrained=base)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    train(photographs, tmp_path / "out", RECIPE, pretrained=base)  # nothing is lost, so it may start again


@pytest.mark.slow
def test_a_run_continues_with_evaluation_card_and_push(photographs, base, tmp_path, monkeypatch):
    output = tmp_path / "out"
    run = RunFolder(output)
    arguments = command(photographs, base, output)
    runner = CliRunner()

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "evaluate", interrupted)
        result = runner.invoke(app, arguments)
    assert result.exit_code == 130
    assert "Continue with the same command and --resume." in result.output
    assert run.state == "trained"
    weights = (output / "model.safetensors").read_bytes()
    assert runner.invoke(app, [*arguments, "--resume"]).exit_code == 0
    assert run.state == "tested"
    assert (output / "README.md").exists()
    (output / "model.safetensors").rename(tmp_path / "away")
    said = str(runner.invoke(app, [*arguments, "--resume"]).exception)
    assert said.startswith(
        f"{output / 'model.safetensors'} is missing, although the network is trained: restore"
    )
    (tmp_path / "away").rename(output / "model.safetensors")
    with HubServer() as hub:
        for name, value in environment(hub.url, tmp_path / "home", TOKEN).items():
            monkeypatch.setenv(name, value)
        publish = [*map(str, arguments), "--resume", "--push-to-hub", "tester/colors"]
        env = os.environ | environment(hub.url, tmp_path / "home", TOKEN)
        pushed = run_training(*publish, env=env)
        assert pushed.returncode == 0, pushed.stderr
        assert run.state == "published"
        files = set(hub.repos["model", "tester/colors"].find("main")[2])
        assert {"model.safetensors", "evaluation.json", "README.md"} <= files
        assert not any(name.startswith((".run", "checkpoint", "logs")) for name in files)
        again = run_training(*publish, env=env)
        assert again.returncode == 0
        assert again.stdout.splitlines()[-1] == f"{output} is published already: there is nothing left to do."
    assert (output / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("repo", "token", "words"),
    [
        ("my name/with spaces", TOKEN, "is not a valid repository id"),
        ("", TOKEN, "is not a valid repository id"),
        ("noname", TOKEN, "is not a valid repository id: give OWNER/NAME"),
        ("tester/x", "", "log in with `hf auth login`"),
        ("tester/x", "hf_invalid", "log in with `hf auth login`"),
    ],
)
def test_what_a_push_needs_is_said_before_training(repo, token, words, photographs, base, tmp_path):
    with HubServer() as hub:
        env = os.environ | environment(hub.url, tmp_path / "home", token)
        arguments = command(photographs, base, tmp_path / "out", "--push-to-hub", repo)
        result = run_training(*arguments, env=env)
    assert result.returncode == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_unreachable_hub_is_said_before_training(photographs, base, tmp_path):
    env = os.environ | environment("http://127.0.0.1:9", tmp_path / "home", TOKEN)
    arguments = command(photographs, base, tmp_path / "out", "--push-to-hub", "tester/x")
    result = run_training(*arguments, env=env)
    assert result.returncode == 1
    assert "The Hub cannot be reached, so nothing was pushed to tester/x" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_or_among_the_images_is_refused(photographs, base, tmp_path):
    (tmp_path / "file").touch()
    inside = "is inside of the images"
    outputs = {tmp_path / "file": "is a file", photographs: inside, photographs / "train" / "x": inside}
    for output, words in outputs.items():
        result = run_training(*command(photographs, base, output))
        assert result.returncode == 1
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_draws_the_batch_and_stops(photographs, base, tmp_path):
    result = run_training(*command(photographs, base, tmp_path / "out", "--dry-run"))
    assert result.returncode == 0, result.stderr
    assert "3 epochs of 4 steps with 8 images" in result.stdout
    assert "images a second" in result.stdout
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files == [tmp_path / "out" / "figures" / "batch.png"]


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_dry_run_says_that_its_output_cannot_be_written(epochs, photographs, base, tmp_path):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "out"
    result = run_training(*command(photographs, base, output, "--dry-run", "--epochs", epochs))
    assert result.returncode == 1
    assert "out cannot be used as an output folder (Not a directory): choose another" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("steps", [1, 2, 3, 12])
def test_a_run_of_any_number_of_steps_is_timed(steps, monkeypatch):
    monkeypatch.setattr("time.monotonic", iter(range(100)).__next__)
    timer = StepTimer()
    timer.on_train_begin()
    for step in range(steps):
        timer.on_train_batch_end(step, {"loss": 1.0})
    assert timer.seconds_per_step == 1


def test_a_dry_run_leaves_a_folder_with_a_run_alone(tuned, photographs, base, tmp_path):
    output = shutil.copytree(tuned, tmp_path / "out")
    before = {file: file.read_bytes() for file in output.rglob("*") if file.is_file()}
    result = run_training(*command(photographs, base, output, "--dry-run", "--seed", "5"))
    assert result.returncode == 1
    assert result.stderr.endswith("already holds a trained network: choose another --output.\n")
    assert result.stdout == ""
    assert {file: file.read_bytes() for file in output.rglob("*") if file.is_file()} == before


def test_the_recipe_of_a_run_can_be_used_again(tuned, photographs, base, tmp_path, monkeypatch):
    chosen = {}
    monkeypatch.setattr(
        "training.fit.fit", lambda data, output, recipe, **options: chosen.update(recipe=recipe)
    )
    monkeypatch.setattr("training.cli._finish", lambda *arguments, **options: None)
    arguments = [str(photographs), "--output", str(tmp_path / "out"), "--pretrained", str(base.folder)]
    recipe = ["--recipe", str(tuned / "recipe.json"), "--epochs", "7"]
    size = ["--image-size", "32", "--crop-pct", "0.9"]  # or else the network's
    result = CliRunner().invoke(app, ["fit", *arguments, *recipe, *size])
    assert result.exit_code == 0, result.output
    recorded = json.loads((tuned / "recipe.json").read_bytes())["recipe"]
    assert dataclasses.asdict(chosen["recipe"]) | {"epochs": 1} == {
        key: tuple(value) if isinstance(value, list) else value for key, value in recorded.items()
    }
    assert chosen["recipe"].epochs == 7
