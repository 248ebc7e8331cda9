"""How a page starts and stays current, whatever the Hub does."""

import re
import threading
import time

import pytest

from resnext.errors import RepositoryError
from resnext.page import upkeep
from resnext.page.header import notice
from resnext.page.models import BUNDLED_NAME, Models
from resnext.page.upkeep import Upkeep, open_models
from tests.helpers.hub_client import connect, publish, until
from tests.helpers.hub_server import TOKEN, HubServer
from tests.helpers.repositories import make_repository


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_repository(tmp_path_factory.mktemp("models") / "net")


@pytest.fixture
def hub(folder, monkeypatch, tmp_path):
    """A Hub that has tester/net."""
    monkeypatch.setattr(upkeep, "_pauses", lambda: iter([0.3] * 30))
    with HubServer() as server:
        connect(monkeypatch, server, tmp_path)
        publish(server, "tester/net", folder)
        yield server


@pytest.mark.parametrize("status", [503, 403])
def test_a_fault_at_the_start_is_overcome_later(status, hub):
    hub.fail_next(2, status, "/api/")
    said = []
    models = open_models("tester/net", ["tester/other"], report=said.append)
    assert list(models.sources) == ["tester/net", "tester/other", BUNDLED_NAME, "tiny-imagenet (bundled)"]
    until(lambda: not models.warning)
    assert said[0].endswith("Until then, this page shows the bundled model.")
    until(lambda: said[1:] == ["tester/net is open now."])
    model = models.open(None)
    assert (model.name, notice(model), models.default) == ("tester/net", "", "tester/net")


def test_a_hub_that_does_not_answer_does_not_keep_the_page_from_starting(hub):
    gate = hub.gates["/api/"] = threading.Event()
    began = time.monotonic()
    said = []
    models = open_models("tester/net", patience=0.3, report=said.append)
    assert time.monotonic() - began < 5
    assert models.open(None).name == BUNDLED_NAME
    assert models.warning.startswith("tester/net is still being downloaded.")
    hub.gates.clear()
    gate.set()
    until(lambda: not models.warning)
    assert models.open(None).name == "tester/net"
    assert said[1:] == ["tester/net is open now."]


def test_the_last_copy_stands_in_while_the_hub_does_not_answer(hub, folder):
    before = open_models("tester/net").open(None).version
    after = publish(hub, "tester/net", folder, notes__txt=b"new")
    gate = hub.gates["/api/"] = threading.Event()
    said = []
    models = open_models("tester/net", patience=0.3, report=said.append)
    model = models.open(None)
    assert (model.name, model.version) == ("tester/net", (False, before[1]))
    assert notice(model).startswith("The Hub did not answer within 0 seconds. Until then, the copy of commit")
    assert said == [notice(model)]
    assert not models.warning
    hub.gates.clear()
    gate.set()
    until(lambda: models.open(None).version == (True, after))
    assert notice(models.open(None)) == ""


def test_a_new_commit_takes_the_place_of_an_open_model(hub, folder):
    models = open_models("tester/net")
    old = models.open(None)
    after = publish(hub, "tester/net", folder, notes__txt=b"new")
    Upkeep(models, None, pytest.fail).look()
    assert models.open(None).version == (True, after)
    photograph = str(next(folder.glob("examples/*.jpg")))
    assert old.classify(photograph).most_likely(1), "requests in progress are served"
    hub.requests.clear()
    same = models.open(None)
    Upkeep(models, None, pytest.fail).look()
    assert models.open(None) is same
    assert len(hub.requests) == 1


def test_a_commit_that_does_not_load_is_said_once_and_the_open_one_stays(hub, folder):
    models = open_models("tester/net")
    old = models.open(None)
    publish(hub, "tester/net", folder, config__json=b"{}")
    said = []
    keeper = Upkeep(models, None, said.append)
    keeper.look()
    keeper.look()
    assert models.open(None) is old
    assert len(said) == 1
    assert "does not name an architecture" in said[0]
    assert said[0].endswith("Until then, this page keeps the commit of tester/net that is open.")
    hub.fail_next(1, 503, "/api/")
    keeper.look()
    assert models.open(None).version == (False, old.version[1]), "the copy of the last commit that is valid"
    after = publish(hub, "tester/net", folder)
    keeper.look()
    assert models.open(None).version == (True, after)


@pytest.mark.parametrize(
    "status, reason",
    [
        (401, "does not accept the token"),
        (403, "does not allow the download"),
        (404, "no longer has one of its files"),
        (500, "HTTP 500"),
        ("reset", "cannot be reached"),
    ],
)
def test_why_there_is_no_newer_commit_is_said_once(status, reason, hub):
    models = open_models("tester/net")
    before = models.open(None).version[1]
    said = []
    keeper = Upkeep(models, None, said.append)
    for _ in range(2):
        hub.fail_next(99, status, "/api/")
        keeper.look()
        keeper.look()
        assert models.open(None).version[1] == before
        assert len(said) == 1, said
        assert reason in said[0]
        assert re.search(f"Until then, (this page keeps|the copy of) .*(commit|{before[:7]})", said[0])
        hub.faults.clear()
        keeper.look()
        assert models.open(None).version == (True, before)
        said.clear()


def test_a_busy_hub_is_said_once_although_the_time_to_wait_passes(hub):
    models = open_models("tester/net")
    said = []
    keeper = Upkeep(models, None, said.append)
    for seconds in (300, 240, 180):
        hub.fail_next(1, 429, "/api/", Retry_After=seconds)
        keeper.look()
    (line,) = said
    assert "asks for fewer requests" in line
    assert "try again in 300 s" in line


def test_a_copy_that_is_opened_at_the_start_is_said(hub):
    open_models("tester/net")
    hub.fail_next(1, 503, "/api/")
    said = []
    models = open_models("tester/net", report=said.append)
    until(lambda: models.open(None).version[0])
    (line,) = said
    assert re.search(r"\(HTTP 503\).* Until then, the copy of commit [0-9a-f]{7} is used\.", line)


def test_branches_of_the_hub_are_followed_and_nothing_else(hub, folder):
    commit = hub.repos["model", "tester/net"].find("main")[1]
    models = Models([str(folder), f"tester/net@{commit}", "tester/net@main", None])
    for name in models.sources:
        models.open(name)
    assert models.followed() == ["tester/net@main"]


def test_the_owner_s_token_is_only_for_models_that_the_owner_named(hub, folder, monkeypatch, tmp_path):
    connect(monkeypatch, hub, tmp_path, TOKEN)
    publish(hub, "tester/secret", folder, private=True)
    assert Models(["tester/secret"]).open(None).labels
    models = Models([None], allow_any=True)
    hub.tokens.clear()
    for name in ("tester/secret", "tester/secret@main", "tester/secret, int8"):
        with pytest.raises(RepositoryError, match="is not on the Hub"):
            models.open(name)
    assert models.open("tester/net").labels
    assert not any(hub.tokens)
    hub.fail_next(99, 503)
    with pytest.raises(RepositoryError, match="HTTP 503"):
        models.open("tester/secret")
