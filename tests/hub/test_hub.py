"""The commands that use the Hub, each in a process of its own, with a Hub on the loopback interface."""

import copy
import json
import os
import shutil
import subprocess

import pytest
from PIL import Image

from resnext.config import ModelConfig
from tests.helpers.forks import hub_python
from tests.helpers.hub_server import TOKEN, HubServer, environment
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def run(hub, tmp_path):
    """Runs `python -m NAME ARGUMENTS...` with a cache of its own, and with a token unless it is ""."""

    def run(*arguments, token=TOKEN):
        return run_module(arguments, environment(hub.url, tmp_path / "home", token))

    return run


def run_module(arguments, variables):
    return subprocess.run(
        [*hub_python(), "-m", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def first_push(tmp_path_factory, make_tiny_repository):
    """What `python -m training push FOLDER tester/colors` printed, and the Hub's repositories after it."""
    root = tmp_path_factory.mktemp("first push")
    folder = make_tiny_repository(root / "tiny")
    with HubServer() as server:
        arguments = ("training", "push", folder, "tester/colors")
        result = run_module(arguments, environment(server.url, root / "home", TOKEN))
        assert result.returncode == 0, result.stderr
        return result.stdout, server.repos


@pytest.fixture
def pushed(hub, first_push):
    """Puts tester/colors with the weights of `tiny_repository` on the Hub; returns its commit id."""
    text, repos = first_push
    hub.repos.update(copy.deepcopy(repos))
    return text.strip().rsplit("/", 1)[1]


@pytest.fixture
def photograph(tmp_path):
    Image.new("RGB", (90, 70), "tomato").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def one_line(result):
    """The error message, after checks: status 1, one line, no traceback, and not the token."""
    assert result.returncode == 1
    assert TOKEN not in result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_push_makes_one_commit_that_predicts_like_the_folder(hub, run, tiny_repository, photograph):
    pushed = run("training", "push", tiny_repository, "tester/colors")
    assert pushed.returncode == 0, pushed.stderr
    assert "tester/colors/commit/" in pushed.stdout
    assert len([path for method, path in hub.requests if "/commit/" in path]) == 1
    _, _, files = hub.repos["model", "tester/colors"].find("main")
    assert files["model.safetensors"].content == (tiny_repository / "model.safetensors").read_bytes()
    assert b"library_name: timm" in files["README.md"].content
    assert b"hf_hub:tester/colors" in files["README.md"].content

    here = run("resnext", "classify", photograph, "--model", tiny_repository, "--json")
    there = run("resnext", "classify", photograph, "--model", "tester/colors", "--json", token="")
    assert there.returncode == 0, there.stderr
    assert there.stdout == here.stdout


def test_files_that_do_not_belong_to_a_repository_are_not_pushed(hub, run, tiny_repository):
    (tiny_repository / "checkpoint").mkdir()
    (tiny_repository / "checkpoint" / "state.safetensors").write_bytes(b"unfinished")
    (tiny_repository / ".env").write_text("SECRET=1")
    assert run("training", "push", tiny_repository, "tester/colors").returncode == 0
    _, _, files = hub.repos["model", "tester/colors"].find("main")
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}


def write_mistakes(repository, count):
    """Replaces the evaluation of a repository by one with `count` pictures of mistakes."""
    (repository / "mistakes").mkdir(exist_ok=True)
    for path in (repository / "mistakes").iterdir():
        path.unlink()
    predictions = []
    for number in range(1, count + 1):
        Image.new("RGB", (16, 16), (number, count, 0)).save(repository / "mistakes" / f"{number:04}.jpg")
        row = {"file": f"{number}.jpg", "true": "ant", "predicted": "bee", "probability": 0.5}
        predictions.append(row | {"thumbnail": f"mistakes/{number:04}.jpg"})
    evaluation = {
        "top1": 0.0,
        "top5": 1.0,
        "loss": 1.0,
        "samples": count,
        "dtype": "float32",
        "classes": ["ant", "bee"],
    }
    evaluation |= {"confusion_matrix": [[0, count], [0, 0]], "per_class": [], "predictions": predictions}
    (repository / "evaluation.json").write_text(json.dumps(evaluation))


def test_push_replaces_the_pictures_of_an_older_evaluation(hub, run, tiny_repository, tmp_path):
    def pictures():
        _, _, files = hub.repos["model", "tester/colors"].find("main")
        return {name: f.content for name, f in files.items() if name.startswith(("mistakes/", "figures/"))}

    def local():
        return {
            f"mistakes/{path.name}": path.read_bytes() for path in (tiny_repository / "mistakes").iterdir()
        }

    write_mistakes(tiny_repository, 3)
    samples = tiny_repository / "figures" / "samples.png"
    samples.parent.mkdir()
    samples.write_bytes(b"samples")
    assert run("training", "push", tiny_repository, "tester/colors").returncode == 0
    assert pictures() == {**local(), "figures/samples.png": b"samples"}
    samples.unlink()  # as by --no-pictures
    assert len(local()) == 3
    write_mistakes(tiny_repository, 2)
    before = len(hub.requests)
    result = run("training", "push", tiny_repository, "tester/colors")
    assert result.returncode == 0, result.stderr
    assert len([path for _, path in hub.requests[before:] if "/commit/" in path]) == 1
    assert pictures() == local()
    assert len(local()) == 2

    assert run("resnext", "download", "tester/colors").returncode == 0
    pulled = {
        f"mistakes/{path.name}": path.read_bytes()
        for path in tmp_path.glob("home/hub/*/snapshots/*/mistakes/*")
    }
    assert pulled == local()


def test_results_of_other_weights_and_unfinished_files_are_not_pushed(hub, run, tiny_repository):
    write_mistakes(tiny_repository, 2)
    evaluation = tiny_repository / "evaluation.json"
    evaluation.write_text(json.dumps({**json.loads(evaluation.read_bytes()), "weights_sha256": "0" * 64}))
    (tiny_repository / "figures").mkdir()
    for name in ("heatmap.png", "reliability.png", "corruptions.png", "curves.png", ".writing-x.png"):
        (tiny_repository / "figures" / name).write_bytes(b"")
    assert run("training", "push", tiny_repository, "tester/stale").returncode == 0
    files = set(hub.repos["model", "tester/stale"].find("main")[2])
    assert files == {
        ".gitattributes",
        "README.md",
        "config.json",
        "figures/curves.png",
        "model.safetensors",
    }


def test_a_push_without_an_evaluation_keeps_the_one_on_the_hub(hub, run, tiny_repository):
    write_mistakes(tiny_repository, 2)
    assert run("training", "push", tiny_repository, "tester/colors").returncode == 0
    (tiny_repository / "evaluation.json").unlink()
    shutil.rmtree(tiny_repository / "mistakes")
    (tiny_repository / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n"
    )
    assert run("training", "push", tiny_repository, "tester/colors").returncode == 0
    _, _, files = hub.repos["model", "tester/colors"].find("main")
    assert {"evaluation.json", "mistakes/0001.jpg", "mistakes/0002.jpg", "history.csv"} < set(files)


def test_an_older_revision_can_still_be_used(run, pushed, tiny_repository, photograph):
    before = run("resnext", "classify", photograph, "--model", "tester/colors", "--json").stdout
    config = ModelConfig.read(tiny_repository / "config.json")
    names = tuple(f"new {name}" for name in config.label_names)
    ModelConfig(config.name, config.architecture, names, config.preprocessing).write(
        tiny_repository / "config.json"
    )
    assert run("training", "push", tiny_repository, "tester/colors").returncode == 0
    after = run("resnext", "classify", photograph, "--model", "tester/colors", "--json").stdout
    assert json.loads(after)["predictions"][0]["label"].startswith("new ")
    again = run("resnext", "classify", photograph, "--model", "tester/colors", "--revision", pushed, "--json")
    assert again.stdout == before
    assert (
        run("resnext", "classify", photograph, "--model", f"tester/colors@{pushed}", "--json").stdout
        == before
    )


def test_a_private_repository_opens_only_with_a_token(hub, run, tiny_repository, photograph):
    assert run("training", "push", tiny_repository, "tester/secret", "--private").returncode == 0
    assert hub.repos["model", "tester/secret"].private
    assert run("resnext", "classify", photograph, "--model", "tester/secret").returncode == 0
    hub.users.clear()
    assert "not on the Hub" in one_line(
        run("resnext", "classify", photograph, "--model", "tester/secret", token="")
    )


def test_a_pull_request_does_not_change_the_main_branch(hub, run, pushed, tiny_repository):
    main = hub.repos["model", "tester/colors"].refs["refs/heads/main"]
    (tiny_repository / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n"
    )
    result = run("training", "push", tiny_repository, "tester/colors", "--create-pr")
    assert "discussions/1" in result.stdout, result.stderr
    assert hub.repos["model", "tester/colors"].refs["refs/heads/main"] == main
    assert "refs/pr/1" in hub.repos["model", "tester/colors"].refs


def test_push_without_a_login_says_how_to_log_in(run, tiny_repository):
    assert "hf auth login" in one_line(run("training", "push", tiny_repository, "tester/colors", token=""))


def test_push_to_a_repository_of_another_user_is_refused(run, tiny_repository):
    assert "somebody/colors" in one_line(run("training", "push", tiny_repository, "somebody/colors"))


def test_a_wrong_token_is_refused_and_not_printed(run, tiny_repository):
    result = run("training", "push", tiny_repository, "tester/colors", token="hf_wrongwrongwrong")
    assert "hf_wrong" not in one_line(result)


def test_unknown_and_incomplete_repositories_are_refused(hub, run, pushed, photograph):
    def classify(*options):
        return one_line(run("resnext", "classify", photograph, *options))

    assert "tester/nowhere is not on the Hub" in classify("--model", "tester/nowhere")
    assert "no revision 'v9'" in classify("--model", "tester/colors", "--revision", "v9")
    repo = hub.repos["model", "tester/colors"]
    _, _, files = repo.find("main")
    repo.add(
        "refs/heads/main",
        {name: file for name, file in files.items() if name != "model.safetensors"},
        "x",
        "y",
    )
    assert "no model.safetensors" in classify("--model", "tester/colors")


def test_the_last_download_is_used_while_the_hub_is_down(hub, run, pushed, photograph):
    online = run("resnext", "classify", photograph, "--model", "tester/colors", "--json")
    hub.fail_next(1000, 503, Retry_After=3600)
    broken = run("resnext", "classify", photograph, "--model", "tester/colors", "--json")
    assert broken.returncode == 0, broken.stderr
    assert broken.stdout == online.stdout
    assert "HTTP 503" in broken.stderr
    assert "Until then, the copy of commit" in broken.stderr
    assert "HTTP 503" in one_line(run("resnext", "classify", photograph, "--model", "tester/other"))


def test_a_push_that_failed_on_the_hub_can_be_repeated(hub, run, tiny_repository):
    hub.fail_next(9, 500, "/commit/", Retry_After=3600)
    assert "HTTP 500" in one_line(run("training", "push", tiny_repository, "tester/colors"))
    hub.faults.clear()
    assert run("training", "push", tiny_repository, "tester/colors").returncode == 0


def test_an_interrupted_download_is_repeated(hub, run, pushed, photograph):
    hub.truncate_next_download()
    result = run("resnext", "classify", photograph, "--model", "tester/colors", "--json")
    assert result.returncode == 0, result.stderr


def test_a_repository_is_downloaded_to_a_folder_that_opens(
    run, pushed, tiny_repository, photograph, tmp_path
):
    result = run("resnext", "download", "tester/colors", "--to", tmp_path / "copy")
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 'copy'}\n"), result.stderr
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (tiny_repository / name).read_bytes()
    assert not list(tmp_path.glob("copy/**/.*"))
    cached = run("resnext", "download", "tester/colors")
    assert cached.stdout.strip().endswith(pushed)
    assert "already exists" in one_line(
        run("resnext", "download", "tester/colors", "--to", tmp_path / "copy")
    )
    assert "is a folder here" in one_line(run("resnext", "download", tmp_path / "copy"))
    assert "is not on the Hub" in one_line(run("resnext", "download", "tester/nowhere"))
