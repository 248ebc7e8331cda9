"""Xet, the client's storage for large files: it is left on, and its faults are reported in one sentence."""

import json
import os
import socket
import subprocess
import sys

import pytest
from huggingface_hub import constants

from resnext import hub_requests
from resnext.errors import RepositoryError
from resnext.hub import pull
from tests.helpers.hub_client import publish
from tests.helpers.hub_server import TOKEN, XET_TOKEN, HubServer, in_this_process
from tests.helpers.paths import ROOT
from tests.helpers.training import run_training

pytestmark = pytest.mark.slow
FAULT = "The Hub's storage of large files (Xet) failed or cannot be reached, so "


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub with a storage that refuses every request, which Xet does not repeat."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with HubServer() as server, in_this_process(server.url, tmp_path / "home", HF_HUB_DISABLE_XET="0"):
        server.storage = server.url
        yield server


def storage_tokens(hub):
    """The tokens of the requests that went to the storage."""
    paths = (path for _, path in hub.requests)
    return {token for path, token in zip(paths, hub.tokens, strict=True) if path.startswith(("/v1/", "/v2/"))}


def test_the_project_leaves_xet_on_and_bounds_its_patience():
    program = (
        "import json, os, resnext.page.upkeep, training.jobs, training.push, training.space\n"
        "from resnext import hub_requests\n"
        "from huggingface_hub.utils._runtime import is_xet_available\n"
        "from hf_xet import XetConfig\n"
        "with hub_requests._bounded_requests('a/b'):\n"
        "    limit = XetConfig().get('client.retry_max_duration').total_seconds()\n"
        "print(json.dumps([is_xet_available(), limit, 'HF_HUB_DISABLE_XET' in os.environ]))"
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_HUB_DISABLE")}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [True, hub_requests.MAX_WAIT, False]


def test_a_storage_that_refuses_a_push_is_one_line_and_leaves_nothing(hub, tiny_repository):
    result = run_training("push", tiny_repository, "tester/colors")
    assert result.returncode == 1
    assert (
        f"{FAULT}nothing was pushed to tester/colors: try again, or set HF_HUB_DISABLE_XET=1" in result.stderr
    )
    assert len(result.stderr.strip().splitlines()) == 1
    for secret in (TOKEN, XET_TOKEN, "127.0.0.1"):
        assert secret not in result.stdout + result.stderr
    assert storage_tokens(hub) == {XET_TOKEN}, "not the one of the Hub's user"
    assert not hub.repos
    constants.HF_HUB_DISABLE_XET = True
    assert run_training("push", tiny_repository, "tester/colors").returncode == 0


def test_a_storage_that_refuses_is_said_and_the_older_copy_is_used(hub, tiny_repository):
    publish(hub, "tester/colors", tiny_repository)
    with pytest.raises(RepositoryError) as error:
        pull("tester/colors", None)
    assert str(error.value).startswith(f"{FAULT}tester/colors could not be downloaded: try again, or set")
    assert "127.0.0.1" not in str(error.value)
    assert storage_tokens(hub) == {XET_TOKEN}, "not the one of the Hub's user"
    hub.storage = ""
    before = pull("tester/colors", None)
    weights = tiny_repository / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    publish(hub, "tester/colors", tiny_repository)
    hub.storage = hub.url
    after = pull("tester/colors", None)
    assert (after.commit, after.current) == (before.commit, False)
    assert after.notice.startswith(FAULT)


@pytest.mark.parametrize("command", ["push", "pull"])
def test_a_storage_that_stays_silent_is_said_and_given_up(command, hub, tiny_repository, monkeypatch, capsys):
    monkeypatch.setattr(hub_requests, "_REPORT_TRANSFER_AFTER", 0.2)
    monkeypatch.setattr(hub_requests, "_MIN_SPEED", 1e9)
    monkeypatch.setattr(hub_requests, "MAX_WAIT", 1)
    monkeypatch.setattr("huggingface_hub.utils._xet._GLOBAL_XET_HOLDER._session", None)
    if command == "pull":
        publish(hub, "tester/colors", tiny_repository)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub.storage = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if command == "push":
            shown = run_training("push", tiny_repository, "tester/colors").stderr
            assert "Still uploading to tester/colors (0.2 MB)." in shown
            assert not hub.repos
        else:
            with pytest.raises(RepositoryError) as error:
                pull("tester/colors", None)
            shown = str(error.value)
            assert "Still downloading model.safetensors of tester/colors (" in capsys.readouterr().err
    assert FAULT in shown


def test_a_storage_that_cannot_be_reached_is_said_within_its_time(hub, tiny_repository, monkeypatch):
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_DURATION", "1s")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "100ms")
    monkeypatch.setattr("huggingface_hub.utils._xet._GLOBAL_XET_HOLDER._session", None)
    publish(hub, "tester/colors", tiny_repository)
    hub.storage = "http://127.0.0.1:9"
    with pytest.raises(RepositoryError) as error:
        pull("tester/colors", None)
    assert str(error.value).startswith(FAULT)
