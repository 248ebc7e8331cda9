"""Spaces: what is checked and sent, what is kept of the owner's, and that the folder runs on its own."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time

import httpx
import huggingface_hub
import pytest
from gradio_client import Client, handle_file
from typer.testing import CliRunner

from resnext.page.upkeep import open_models
from tests.helpers.hub_client import connect, forget, publish, until
from tests.helpers.hub_server import TOKEN, File, HubServer, Repo, environment
from tests.helpers.pages import free_port
from tests.helpers.paths import ROOT
from tests.helpers.repositories import make_repository
from training import space
from training.cli import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_repository(tmp_path_factory.mktemp("models") / "net")


@pytest.fixture(autouse=True)
def hub(folder, monkeypatch, tmp_path):
    """A Hub with the models tester/net and, private, tester/secret; its user is logged in."""
    with HubServer() as server:
        connect(monkeypatch, server, tmp_path, TOKEN)
        publish(server, "tester/net", folder)
        publish(server, "tester/secret", folder, private=True)
        yield server


def run(*arguments):
    """Runs `training space ARGUMENTS...` in this process."""
    return CliRunner().invoke(app, ["space", *map(str, arguments)])


def refused(*arguments):
    """The message of an error, after checks that nothing was sent and that it is one line without secrets."""
    result = run(*arguments)
    message = str(result.exception) + result.output
    assert result.exit_code in (1, 2), message
    assert TOKEN not in message
    return message


def page(hub):
    """The Space tester/page and the text of its files."""
    repo = hub.repos["space", "tester/page"]
    return repo, {
        name: file.content.decode("utf-8", "replace") for name, file in repo.find("main")[2].items()
    }


def test_a_space_holds_the_page_and_names_its_models(hub):
    result = run("tester/page", "--model", "tester/net", "--model", "hf-hub:tester/net@main")
    assert result.exit_code == 0, result.exception
    assert result.stdout.strip().endswith("/spaces/tester/page")
    repo, files = page(hub)
    assert (repo.sdk, repo.private) == ("gradio", False)
    assert {name: variable["value"] for name, variable in repo.variables.items()} == {
        "RESNEXT_MODEL": "tester/net",
        "RESNEXT_MODELS": "tester/net@main",
    }
    assert files["app.py"] == (ROOT / "app.py").read_text("utf-8")
    assert {"resnext/classifier.py", "resnext/page/static/page.css", "resnext/flowers/config.json"} < set(
        files
    )
    assert not [name for name in files if "__pycache__" in name or name.startswith(("training/", "tests/"))]
    requirements = files["requirements.txt"].splitlines()
    assert {"openvino>=2025.0,<2025.1", "numpy>=2.1,<2.2", "pandas<2.3"} < set(requirements), "small versions"
    assert "tensorflow" not in files["requirements.txt"]
    card = huggingface_hub.SpaceCard(files["README.md"])
    assert (card.data["sdk"], card.data["app_file"], card.data["title"]) == ("gradio", "app.py", "ResNeXt")
    assert card.data["models"] == ["tester/net"]
    assert card.text.strip() == "Shows `tester/net`, `tester/net@main`."


def test_visitors_may_log_in_to_push_unless_teaching_is_off(hub):
    run("tester/page", "--model", "tester/net")
    repo, files = page(hub)
    data = huggingface_hub.SpaceCard(files["README.md"]).data
    assert (data["hf_oauth"], data["hf_oauth_scopes"]) == (True, ["contribute-repos"])
    assert "RESNEXT_TEACH" not in repo.variables
    run("tester/page", "--model", "tester/net", "--no-teach")
    repo, files = page(hub)
    data = huggingface_hub.SpaceCard(files["README.md"]).data
    assert (data.get("hf_oauth"), data.get("hf_oauth_scopes")) == (None, None)
    assert repo.variables["RESNEXT_TEACH"]["value"] == "0"
    run("tester/page", "--model", "tester/net")
    assert "RESNEXT_TEACH" not in page(hub)[0].variables


def test_a_second_command_changes_what_it_must_and_restarts_nothing(hub):
    run("tester/page", "--model", "tester/net", "--model", "tester/net@main")
    before = page(hub)[0].refs["refs/heads/main"]
    hub.requests.clear()
    assert run("tester/page", "--model", "tester/net", "--model", "tester/net@main").exit_code == 0
    assert page(hub)[0].refs["refs/heads/main"] == before
    assert not [path for method, path in hub.requests if path.endswith("variables") and method != "GET"]
    assert run("tester/page", "--model", "tester/net").exit_code == 0
    assert "RESNEXT_MODELS" not in page(hub)[0].variables


def test_an_owner_s_words_are_kept_and_files_that_were_dropped_are_removed(hub):
    run("tester/page", "--model", "tester/net")
    repo, files = page(hub)
    card = huggingface_hub.SpaceCard(files["README.md"])
    for field, value in {"title": "Mine", "emoji": "🌻", "pinned": True, "sdk_version": "5.0"}.items():
        card.data[field] = value
    card.text = "\n# My page\n\nAbout it.\n"
    changed = {
        **repo.find("main")[2],
        "README.md": File(str(card).encode()),
        "resnext/notes.py": File(b"# the owner's\n"),
        "resnext/dropped.py": File(b"# ours\n"),
        "resnext/space_files.txt": File((files["resnext/space_files.txt"] + "resnext/dropped.py\n").encode()),
    }
    repo.add("refs/heads/main", changed, "the owner's")
    assert run("tester/page", "--model", "tester/net@main").exit_code == 0
    _, after = page(hub)
    card = huggingface_hub.SpaceCard(after["README.md"])
    assert (card.data["title"], card.data["emoji"], card.data["pinned"]) == ("Mine", "🌻", True)
    assert card.data["sdk_version"] != "5.0"
    assert card.text.strip() == "# My page\n\nAbout it."
    assert "resnext/notes.py" in after
    assert "resnext/dropped.py" not in after
    assert run("tester/page", "--model", "tester/net", "--title", "Another").exit_code == 0
    assert huggingface_hub.SpaceCard(page(hub)[1]["README.md"]).data["title"] == "Another"


def test_settings_of_a_space_are_made_and_no_secret_is_printed(hub, monkeypatch):
    monkeypatch.setenv("OTHER", "hf_another_value")
    result = run(
        *("tester/page", "--model", "tester/secret", "--private", "--hardware", "cpu-upgrade"),
        *("--sleep-time", 600, "--secret", "HF_TOKEN", "--secret", "OTHER"),
    )
    assert result.exit_code == 0, result.exception
    repo, files = page(hub)
    assert repo.private
    assert repo.runtime == {"flavor": "cpu-upgrade", "sleep_time": 600}
    assert repo.secrets == {"HF_TOKEN": TOKEN, "OTHER": "hf_another_value"}
    shown = result.output + "".join(files.values())
    assert TOKEN not in shown
    assert "hf_another_value" not in shown
    assert "preload_from_hub" not in files["README.md"], "the Hub builds a Space without its secrets"
    assert run("tester/page", "--model", "tester/secret").exit_code == 0, "the Space has its secret"
    assert run("tester/page", "--model", "tester/secret", "--sleep-time", 900).exit_code == 0
    assert repo.runtime["sleep_time"] == 900


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["page", "--model", "tester/net"], "is not the name of a Space: give OWNER/NAME"),
        (["tester/page", "--model", "tester/none"], "tester/none is not on the Hub"),
        (["tester/page", "--model", "net"], "'net' is not a Hub repository such as OWNER/NAME"),
        (["tester/page", "--model", "tester/net@v9"], "has no revision 'v9'"),
        (
            ["tester/page", "--model", str(ROOT / "resnext" / "flowers")],
            "is a folder here, which a Space cannot",
        ),
        (
            ["tester/page", "--model", "tester/secret"],
            "so the Space needs a token that may read it: add --secret",
        ),
        (["tester/page", "--model", "tester/net", "--secret", "NOT_SET"], "The secret NOT_SET has no value"),
        (
            ["tester/page", "--model", "tester/net", "--hardware", "abacus"],
            "'abacus' is not one of cpu-basic",
        ),
        (
            ["tester/page", "--model", "tester/net", "--hardware", "cpu-basic", "--sleep-time", "9"],
            "cpu-basic always sleeps",
        ),
        (
            ["other/page", "--model", "tester/net"],
            "does not let you write there (You don't have the rights to create the space other/page)",
        ),
        (["tester/page", "--model", "tester/net", "--dry-run", str(ROOT)], "already exists"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(arguments, words, hub):
    assert words in refused(*arguments)
    assert not [key for key in hub.repos if key[0] == "space"]


def test_a_public_space_is_not_made_private_silently(hub):
    run("tester/page", "--model", "tester/net")
    assert "is public already" in refused("tester/page", "--model", "tester/net", "--private")


@pytest.mark.parametrize(
    "readme, words", [(b"---\na: [\n---\n", "is not valid YAML"), (b"\xff\xfe", "is not UTF-8")]
)
def test_a_readme_that_cannot_be_read_is_not_overwritten(readme, words, hub):
    repo = hub.repos["space", "tester/page"] = Repo("space", "tester/page")
    commit = repo.add("refs/heads/main", {"README.md": File(readme)}, "x")
    assert words in refused("tester/page", "--model", "tester/net")
    assert repo.refs["refs/heads/main"] == commit


def test_a_space_that_holds_something_else_is_not_overwritten(hub):
    repo = hub.repos["space", "tester/page"] = Repo("space", "tester/page", sdk="docker")
    commit = repo.add("refs/heads/main", {"README.md": File(b"Mine"), "app.py": File(b"mine")}, "x")
    assert "holds something else already, such as app.py" in refused("tester/page", "--model", "tester/net")
    assert repo.refs["refs/heads/main"] == commit


def test_the_address_of_a_space_names_it(hub):
    address = "https://huggingface.co/spaces/tester/page"
    assert run(address, "--model", "https://huggingface.co/tester/net").exit_code == 0
    assert "app.py" in page(hub)[1]


@pytest.mark.parametrize(
    "fault, words",
    [
        ((99, 503, "/commit/"), "The Hub failed (HTTP 503)"),
        ((99, 429, "/api/repos"), "asks for fewer requests"),
        ((99, 412, "/commit/"), "was changed on the Hub twice during the update"),
        ((99, 400, "/api/repos"), "(HTTP 400) (Injected fault), so the Space tester/page was not updated"),
        ((99, 401, "/api/repos"), "does not accept the token"),
    ],
)
def test_a_fault_of_the_hub_is_one_line_and_the_next_command_works(fault, words, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.fail_next(*fault)
    assert words in refused("tester/page", "--model", "tester/net")
    hub.faults.clear()
    assert run("tester/page", "--model", "tester/net").exit_code == 0


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub):
    hub.fail_next(1, "lost", "/commit/")
    result = run("tester/page", "--model", "tester/net")
    assert result.exit_code == 0, result.exception
    assert len([path for _, path in hub.requests if "/commit/" in path]) == 1
    assert "app.py" in page(hub)[1]
    hub.fail_next(2, "reset", "/commit/")
    said = refused("tester/page", "--model", "tester/net", "--title", "Again")
    assert "The connection to the Hub broke twice during the update of tester/page: run" in said


def test_words_that_an_owner_writes_during_the_command_are_kept(hub):
    run("tester/page", "--model", "tester/net")
    repo, files = page(hub)
    words = File(files["README.md"].replace("Shows", "My page shows").encode())
    edited = {**repo.find("main")[2], "README.md": words}
    hub.fail_next(1, lambda: repo.add("refs/heads/main", edited, "the owner's"), "/commit/")
    assert run("tester/page", "--model", "tester/net", "--title", "Again").exit_code == 0
    readme = page(hub)[1]["README.md"]
    assert "title: Again" in readme
    assert "My page shows" in readme


STEPS = [
    "/api/whoami-v2",
    "/api/models/tester/secret",
    "/api/spaces/tester/page",
    "/api/repos/create",
    "/variables",
    "/secrets",
    "/hardware",
    "/preupload/",
    "/objects/batch",
    "/tester/page/lfs/",
    "/commit/",
]


@pytest.mark.parametrize("status", [429, 503])
def test_a_fault_that_passes_is_waited_for_at_every_step(status, hub, monkeypatch):
    monkeypatch.setattr("resnext.hub_requests.MAX_WAIT", 60)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for step in STEPS:
        hub.fail_next(1, status, step)
    options = ("--model", "tester/secret", "--secret", "HF_TOKEN", "--hardware", "cpu-upgrade")
    result = run("tester/page", *options)
    assert result.exit_code == 0, result.exception
    assert not hub.faults
    assert "app.py" in page(hub)[1]
    for step in ("/resolve/", "/api/spaces/tester/page/variables"):
        hub.fail_next(1, status, step)
    assert run("tester/page", *options, "--title", "Again").exit_code == 0
    assert not hub.faults


@pytest.mark.parametrize("path", ["/variables", "/preupload/", "/commit/"])
def test_a_space_that_could_not_be_filled_is_deleted_if_it_is_new(path, hub):
    options = ("--model", "tester/net", "--secret", "HF_TOKEN", "--hardware", "cpu-upgrade")
    hub.fail_next(99, 400, path)
    assert "so the Space tester/page was not updated: " in refused("tester/page", *options)
    assert ("space", "tester/page") not in hub.repos
    hub.faults.clear()
    assert run("tester/page", *options).exit_code == 0
    hub.fail_next(99, 400, path)
    refused("tester/page", *options, "--title", "Again", "--model", "tester/net@main")
    assert "app.py" in page(hub)[1], "a Space that was there stays"


def test_a_cold_start_downloads_nothing(hub, tmp_path, monkeypatch):
    run("tester/page", "--model", "tester/net")
    (entry,) = huggingface_hub.SpaceCard(page(hub)[1]["README.md"]).data["preload_from_hub"]
    repo_id, names, commit = entry.split(" ")
    assert (repo_id, commit) == ("tester/net", hub.repos["model", "tester/net"].find("main")[1])
    forget(tmp_path)
    for name in names.split(","):  # as the Hub does when it builds the Space
        huggingface_hub.hf_hub_download(repo_id, name, revision=commit)
    hub.requests.clear()
    model = open_models("tester/net").open(None)
    assert model.version == (True, commit)
    assert model.examples()
    assert len(hub.requests) == 1, "what the newest commit is"
    hub.fail_next(99, 503)
    assert open_models("tester/net").open(None).version == (False, commit)


def test_a_dry_run_writes_the_folder_and_sends_nothing(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    hub.requests.clear()
    result = run("tester/page", "--model", "tester/net", "--dry-run", tmp_path / "page")
    assert result.exit_code == 0, result.exception
    assert "Nothing was sent. The page reads these variables: RESNEXT_MODEL=tester/net." in result.output
    assert {method for method, _ in hub.requests} <= {"GET", "HEAD"}
    written = {
        path.relative_to(tmp_path / "page").as_posix()
        for path in (tmp_path / "page").rglob("*")
        if path.is_file()
    }
    assert written == set((tmp_path / "page" / space._OWN_FILES).read_text().splitlines())


def unprivileged():
    """A Python that uid 1000, as which a Space runs, may use, and options and variables for `subprocess`.

    Where this user may not change to it, or it may not read this Python, the page runs as this user.
    """
    options = {"user": 1000, "group": 1000, "extra_groups": []}
    another = f"/usr/bin/python3.{sys.version_info.minor}"
    for program, variables in (
        (sys.executable, {}),
        (another, {"PYTHONPATH": sysconfig.get_path("purelib")}),
    ):
        command = [program, "-c", "import typer"]
        try:
            subprocess.run(
                command, check=True, capture_output=True, env=os.environ | variables, cwd="/", **options
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return program, options, variables
    return sys.executable, {}, {}


@pytest.mark.slow
def test_the_folder_alone_starts_and_classifies(hub, folder):
    """With the packages of its requirements alone, a cache that cannot be written, and a model of the Hub."""
    with tempfile.TemporaryDirectory() as place:
        top = pathlib.Path(place)
        os.chmod(top, 0o755)
        run("tester/page", "--model", "tester/net", "--dry-run", top / "page")
        shutil.copy(ROOT / "tests" / "helpers" / "alone.py", top / "alone.py")
        (top / "home").mkdir()
        (top / "file").touch()
        port = free_port()
        variables = environment(hub.url, top / "file" / "cache") | {
            "HOME": str(top / "home"),
            "HF_TOKEN_PATH": str(top / "home" / "token"),
            "GRADIO_TEMP_DIR": str(top / "home"),
            "GRADIO_SERVER_PORT": str(port),
            "RESNEXT_MODEL": "tester/net",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        program, options, more = unprivileged()
        if options:
            os.chown(top / "home", 1000, 1000)
        with (top / "output").open("w+") as output:
            process = subprocess.Popen(
                [program, "../alone.py"],
                cwd=top / "page",
                env=os.environ | variables | more,
                stdout=output,
                stderr=output,
                **options,
            )
            try:
                page = wait_for(f"http://127.0.0.1:{port}", process, top / "output")
                # On a busy machine, the bundled model stands in at first.
                until(lambda: page.predict(api_name="/model_info")["model"] == "tester/net")
                image = next(folder.glob("examples/*.jpg"))
                assert page.predict(handle_file(image), 3, api_name="/classify")["confidences"]
                libraries = pathlib.Path(f"/proc/{process.pid}/maps").read_text()
                assert "openvino" in libraries and "pandas" not in libraries
            finally:
                process.terminate()
                status = process.wait(30)
            output.seek(0)
            text = output.read()
        assert status == 143, text
        assert "cannot be written, so downloads go to" in text
        assert "Traceback" not in text
        assert TOKEN not in text


def wait_for(address, process, output):
    for _ in range(600):
        assert process.poll() is None, output.read_text()
        try:
            return Client(address, verbose=False)
        except (OSError, ValueError, httpx.HTTPError):
            time.sleep(0.2)
    return pytest.fail("the page did not start within two minutes")
