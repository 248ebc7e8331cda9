"""Training as a Hugging Face Job: the Hub on loopback runs what it is asked to run."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.helpers.hub_server import TOKEN, HubServer, Repo, environment, in_this_process
from tests.helpers.photographs import paint
from tests.helpers.training import run_training

pytestmark = pytest.mark.slow

OPTIONS = ("--recipe", "probe", "--image-size", 41)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    return paint(tmp_path_factory.mktemp("data") / "colors")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.3)))  # between looks at the log
    with HubServer() as hub, in_this_process(hub.url, tmp_path / "home"):
        yield hub


def runner(hub, folder):
    """Runs jobs in processes of this machine, with their volume in a folder."""

    def run(spec):
        (volume,) = spec["volumes"]
        files = hub.repos[volume["type"], volume["source"]].find("main")[2]
        for name, file in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(file.content)
        mount = volume["mountPath"]
        command = spec["command"][spec["command"].index("python") :]
        command = [sys.executable, *(part.replace(mount, str(folder)) for part in command[1:])]
        variables = {name: value.replace(mount, str(folder)) for name, value in spec["environment"].items()}
        env = os.environ | environment(hub.url, folder / "home") | variables | spec["secrets"]
        process = subprocess.run(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        yield from process.stdout.splitlines()
        if process.returncode:
            yield f"exit status {process.returncode}"

    return run


def test_a_job_trains_and_pushes_and_its_log_is_streamed(hub, photographs, tmp_path):
    hub.run_job = runner(hub, tmp_path / "job")
    arguments = ["fit", photographs, "--output", tmp_path / "secret" / "net", *OPTIONS]
    result = run_training(*arguments, "--push-to-hub", "tester/colors", "--on=a10g-small")
    assert result.returncode == 0, result.stderr + result.stdout
    assert (
        "Uploading the photographs and this project to the private data set tester/colors-job."
        in result.stdout
    )
    assert "Linear probe: " in result.stdout
    assert "tester/colors/commit/" in result.stdout
    assert "model.safetensors" in hub.repos["model", "tester/colors"].find("main")[2]
    assert not (tmp_path / "secret").exists()  # nothing is trained here
    dataset = hub.repos["dataset", "tester/colors-job"]
    assert dataset.private
    files = dataset.find("main")[2]
    assert "photographs/colors/train/red/0.jpg" in files
    assert "project/resnext/training/fit.py" in files
    assert not any("__pycache__" in name or "/flowers/" in name for name in files)
    (job,) = hub.jobs.values()
    assert job["spec"]["flavor"] == "a10g-small"
    assert job["spec"]["secrets"] == {"HF_TOKEN": TOKEN}
    assert any("tensorflow[and-cuda]" in part for part in job["spec"]["command"])
    assert "/secret/" not in " ".join(job["spec"]["command"])
    assert TOKEN not in " ".join(job["spec"]["command"]) + result.stdout + result.stderr


def test_photographs_do_not_go_to_a_data_set_that_is_public(hub, photographs, tmp_path):
    dataset = hub.repos["dataset", "tester/colors-job"] = Repo("dataset", "tester/colors-job")
    options = ("--push-to-hub", "tester/colors", "--on", "t4-small")
    result = run_training("fit", photographs, "--output", tmp_path / "net", *options)
    assert result.returncode == 1
    assert "tester/colors-job is public, so the photographs were not uploaded" in result.stderr
    assert set(dataset.find("main")[2]) == {".gitattributes"}


STEPS = ["/api/repos/create", "/api/datasets/", "/preupload/", "/objects/batch", "/commit/", "/api/jobs/"]


@pytest.mark.parametrize("step", STEPS)
def test_a_hub_that_asks_to_wait_for_an_hour_gets_no_job(step, hub, photographs, tmp_path):
    hub.fail_next(99, 429, step, Retry_After=3600)
    options = ("--push-to-hub", "tester/colors", "--on", "t4-small")
    result = run_training("fit", photographs, "--output", tmp_path / "net", *options)
    assert result.returncode == 1
    assert "no job was started for tester/colors: try again in 3600 s" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert len(hub.faults) == 98, "it was asked once"


def test_a_job_that_may_have_started_is_not_started_again(hub, photographs, tmp_path):
    hub.fail_next(99, 504, "/api/jobs/")
    options = ("--push-to-hub", "tester/colors", "--on", "t4-small")
    result = run_training("fit", photographs, "--output", tmp_path / "net", *options)
    assert "(HTTP 504), so no job was started for tester/colors" in result.stderr
    assert len(hub.faults) == 98, "it was asked once"


def test_a_second_job_uploads_what_has_changed(hub, photographs, tmp_path):
    data = tmp_path / "colors"
    shutil.copytree(photographs, data)
    hub.run_job = lambda spec: iter(["done"])
    for step in STEPS[:-1]:
        hub.fail_next(1, 503, step)
    options = ("--push-to-hub", "tester/colors", "--on", "t4-small")
    assert run_training("fit", data, "--output", tmp_path / "net", *options).returncode == 0
    assert not hub.faults
    uploads = [path for method, path in hub.requests if method == "PUT"]
    (data / "train" / "red" / "0.jpg").rename(data / "train" / "red" / "other.jpg")
    assert run_training("fit", data, "--output", tmp_path / "net", *options).returncode == 0
    files = hub.repos["dataset", "tester/colors-job"].find("main")[2]
    assert "photographs/colors/train/red/other.jpg" in files
    assert "photographs/colors/train/red/0.jpg" not in files
    assert [path for method, path in hub.requests if method == "PUT"] == uploads


def test_a_job_that_fails_is_one_line_after_its_log(hub, photographs, tmp_path):
    hub.run_job = lambda spec: iter(["CUDA is missing", "exit status 1"])
    options = ("--push-to-hub", "tester/colors", "--on", "t4-small")
    result = run_training("fit", photographs, "--output", tmp_path / "net", *options)
    assert result.returncode == 1
    assert "CUDA is missing" in result.stdout
    assert "Job job0 ended as ERROR: its log is above" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_job_that_the_hub_refuses_is_said_with_its_reason(hub, photographs, tmp_path):
    options = ("--push-to-hub", "tester/colors", "--on", "t4-small")
    result = run_training("fit", photographs, "--output", tmp_path / "net", *options)
    assert result.returncode == 1
    assert "Pre-paid credit balance is insufficient" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ((), "a job keeps no files: give --push-to-hub, too."),
        (("--push-to-hub", "tester/colors", "--resume"), "--dry-run and --resume are for this machine."),
        (
            ("--push-to-hub", "tester/colors", "--pretrained", "."),
            "a job does not have .: push it to the Hub",
        ),
    ],
)
def test_what_a_job_cannot_do_is_refused_before_anything_is_sent(options, words, hub, photographs, tmp_path):
    result = run_training("fit", photographs, "--output", tmp_path / "net", "--on", "t4-small", *options)
    assert result.returncode == 2
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert not hub.requests
