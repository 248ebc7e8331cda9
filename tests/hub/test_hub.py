"""The commands that talk to the Hub, each as a process of its own against a Hub on loopback."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from resnext.config import ModelConfig
from tests.helpers.hub_server import TOKEN, HubServer, environment

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def run(hub, tmp_path):
    """Runs `python -m NAME ARGUMENTS...` with a token, unless it is left out, and a cache of its own."""

    def run(*arguments, token=TOKEN):
        return subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment(hub.url, tmp_path / "home", token)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def photograph(tmp_path):
    Image.new("RGB", (90, 70), "tomato").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def one_line(result):
    """The error: one line, no traceback, status 1, and never the token."""
    assert result.returncode == 1
    assert TOKEN not in result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_push_makes_one_commit_that_classifies_like_the_folder(hub, run, tiny_repository, photograph):
    pushed = run("training", "push", tiny_repository, "tester/colours")
    assert pushed.returncode == 0, pushed.stderr
    assert "tester/colours/commit/" in pushed.stdout
    assert len([path for method, path in hub.requests if "/commit/" in path]) == 1
    _, _, files = hub.repos["model", "tester/colours"].find("main")
    assert files["model.safetensors"].content == (tiny_repository / "model.safetensors").read_bytes()
    assert b"library_name: timm" in files["README.md"].content
    assert b"hf_hub:tester/colours" in files["README.md"].content

    here = run("resnext", "classify", photograph, "--model", tiny_repository, "--json")
    there = run("resnext", "classify", photograph, "--model", "tester/colours", "--json", token="")
    assert there.returncode == 0, there.stderr
    assert there.stdout == here.stdout


def test_files_beside_the_repository_s_own_are_not_pushed(hub, run, tiny_repository):
    (tiny_repository / "checkpoint").mkdir()
    (tiny_repository / "checkpoint" / "state.safetensors").write_bytes(b"unfinished")
    (tiny_repository / ".env").write_text("SECRET=1")
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    _, _, files = hub.repos["model", "tester/colours"].find("main")
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors"}


def with_mistakes(repository, count):
    """An evaluation with so many pictures of mistakes."""
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


def test_a_pushed_repository_holds_the_pictures_of_its_evaluation_and_none_of_an_older_one(
    hub, run, tiny_repository, photograph, tmp_path
):
    def pictures():
        _, _, files = hub.repos["model", "tester/colours"].find("main")
        return {name: file.content for name, file in files.items() if name.startswith("mistakes/")}

    def local():
        return {
            f"mistakes/{path.name}": path.read_bytes() for path in (tiny_repository / "mistakes").iterdir()
        }

    with_mistakes(tiny_repository, 3)
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    assert pictures() == local()
    assert len(local()) == 3
    with_mistakes(tiny_repository, 2)
    before = len(hub.requests)
    result = run("training", "push", tiny_repository, "tester/colours")
    assert result.returncode == 0, result.stderr
    assert len([path for _, path in hub.requests[before:] if "/commit/" in path]) == 1
    assert pictures() == local()
    assert len(local()) == 2

    assert run("resnext", "classify", photograph, "--model", "tester/colours").returncode == 0
    pulled = {
        f"mistakes/{path.name}": path.read_bytes()
        for path in tmp_path.glob("home/hub/*/snapshots/*/mistakes/*")
    }
    assert pulled == local()


def test_a_push_without_an_evaluation_leaves_the_hub_s_evaluation_and_its_pictures(hub, run, tiny_repository):
    with_mistakes(tiny_repository, 2)
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    (tiny_repository / "evaluation.json").unlink()
    shutil.rmtree(tiny_repository / "mistakes")
    (tiny_repository / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n"
    )
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    _, _, files = hub.repos["model", "tester/colours"].find("main")
    assert {"evaluation.json", "mistakes/0001.jpg", "mistakes/0002.jpg", "history.csv"} < set(files)


def test_an_older_revision_is_still_served(hub, run, tiny_repository, photograph):
    first = run("training", "push", tiny_repository, "tester/colours").stdout.strip().rsplit("/", 1)[1]
    before = run("resnext", "classify", photograph, "--model", "tester/colours", "--json").stdout
    config = ModelConfig.read(tiny_repository / "config.json")
    names = tuple(f"new {name}" for name in config.label_names)
    ModelConfig(config.name, config.architecture, names, config.preprocessing).write(
        tiny_repository / "config.json"
    )
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    after = run("resnext", "classify", photograph, "--model", "tester/colours", "--json").stdout
    assert json.loads(after)["predictions"][0]["label"].startswith("new ")
    again = run("resnext", "classify", photograph, "--model", "tester/colours", "--revision", first, "--json")
    assert again.stdout == before
    assert (
        run("resnext", "classify", photograph, "--model", f"tester/colours@{first}", "--json").stdout
        == before
    )


def test_a_private_repository_opens_with_a_token_only(hub, run, tiny_repository, photograph):
    assert run("training", "push", tiny_repository, "tester/secret", "--private").returncode == 0
    assert hub.repos["model", "tester/secret"].private
    assert run("resnext", "classify", photograph, "--model", "tester/secret").returncode == 0
    hub.users.clear()
    assert "not on the Hub" in one_line(
        run("resnext", "classify", photograph, "--model", "tester/secret", token="")
    )


def test_a_pull_request_leaves_main_as_it_was(hub, run, tiny_repository):
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    main = hub.repos["model", "tester/colours"].refs["refs/heads/main"]
    (tiny_repository / "history.csv").write_text(
        "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n"
    )
    result = run("training", "push", tiny_repository, "tester/colours", "--create-pr")
    assert "discussions/1" in result.stdout, result.stderr
    assert hub.repos["model", "tester/colours"].refs["refs/heads/main"] == main
    assert "refs/pr/1" in hub.repos["model", "tester/colours"].refs


def test_without_a_login_push_says_how_to_log_in(run, tiny_repository):
    assert "hf auth login" in one_line(run("training", "push", tiny_repository, "tester/colours", token=""))


def test_another_s_repository_is_refused(run, tiny_repository):
    assert "somebody/colours" in one_line(run("training", "push", tiny_repository, "somebody/colours"))


def test_a_wrong_token_is_refused_and_not_repeated(run, tiny_repository):
    result = run("training", "push", tiny_repository, "tester/colours", token="hf_wrongwrongwrong")
    assert "hf_wrong" not in one_line(result)


def test_an_unknown_repository_revision_and_a_repository_that_is_no_model(
    hub, run, tiny_repository, photograph
):
    def classify(*options):
        return one_line(run("resnext", "classify", photograph, *options))

    assert "tester/nowhere is not on the Hub" in classify("--model", "tester/nowhere")
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    assert "no revision 'v9'" in classify("--model", "tester/colours", "--revision", "v9")
    repo = hub.repos["model", "tester/colours"]
    _, _, files = repo.find("main")
    repo.add(
        "refs/heads/main",
        {name: file for name, file in files.items() if name != "model.safetensors"},
        "x",
        "y",
    )
    assert "no model.safetensors" in classify("--model", "tester/colours")


def test_the_copy_downloaded_last_serves_while_the_hub_is_down(hub, run, tiny_repository, photograph):
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    online = run("resnext", "classify", photograph, "--model", "tester/colours", "--json")
    hub.fail_next(1000, 503)
    broken = run("resnext", "classify", photograph, "--model", "tester/colours", "--json")
    assert broken.returncode == 0, broken.stderr
    assert broken.stdout == online.stdout
    assert "never downloaded" in one_line(run("resnext", "classify", photograph, "--model", "tester/other"))


def test_a_push_that_the_hub_breaks_off_can_be_tried_again(hub, run, tiny_repository):
    hub.fail_next(1, 500, "/commit/")
    assert "HTTP 500" in one_line(run("training", "push", tiny_repository, "tester/colours"))
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0


def test_a_download_that_breaks_off_is_taken_up_again(hub, run, tiny_repository, photograph):
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    hub.truncate_next_download()
    result = run("resnext", "classify", photograph, "--model", "tester/colours", "--json")
    assert result.returncode == 0, result.stderr


def test_space_holds_the_page_and_names_the_model(hub, run, tiny_repository):
    assert run("training", "push", tiny_repository, "tester/colours").returncode == 0
    for _ in range(2):  # make, then update
        result = run("training", "space", "tester/page", "--model", "tester/colours")
        assert result.returncode == 0, result.stderr
    space = hub.repos["space", "tester/page"]
    assert space.sdk == "gradio"
    assert space.variables["RESNEXT_MODEL"]["value"] == "tester/colours"
    _, _, files = space.find("main")
    assert files["app.py"].content == (ROOT / "app.py").read_bytes()
    assert "resnext/classifier.py" in files
    assert "resnext/flowers/model.safetensors" in files
    requirements = files["requirements.txt"].content.decode()
    assert "openvino" in requirements
    assert "tensorflow" not in requirements
    readme = files["README.md"].content.decode()
    assert "sdk: gradio" in readme
    assert "app_file: app.py" in readme
    assert '- "tester/colours"' in readme
    assert not [name for name in files if "__pycache__" in name or name.startswith(("training/", "tests/"))]
