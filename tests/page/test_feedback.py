"""Corrections of visitors: with consent only, and never lost."""

import json
import threading

import pytest
from PIL import Image

from resnext.page import feedback as feedback_module
from resnext.page.feedback import NONE_OF_THESE, Feedback
from resnext.page.models import Models
from resnext.page.tabs.classify import ClassifyTab
from tests.helpers.hub_client import connect
from tests.helpers.hub_server import TOKEN, HubServer


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        connect(monkeypatch, server, tmp_path, TOKEN)
        yield server


@pytest.fixture
def tab(repository, tmp_path):
    """The tab of a page that stores corrections; `tab.said` is what its owner was told."""
    models = Models([str(repository)])
    said = []
    models.feedback = Feedback("tester/corrections", said.append, tmp_path / "kept", minutes=60)
    tab = ClassifyTab(models)
    tab.said = said
    return tab


@pytest.fixture
def photograph(tmp_path):
    image = Image.new("RGB", (90, 70), "tomato")
    exif = image.getexif()
    exif[0x010E] = "taken at home"
    image.save(tmp_path / "photo.jpg", exif=exif)
    return str(tmp_path / "photo.jpg")


def stored(hub):
    """The rows and the pictures of the data set."""
    files = hub.repos["dataset", "tester/corrections"].find("main")[2]
    rows = [
        json.loads(line)
        for name, file in sorted(files.items())
        if name.endswith("metadata.jsonl")
        for line in file.content.decode().splitlines()
    ]
    return rows, {name.rpartition("/")[2]: file.content for name, file in files.items() if ".jpg" in name}


def test_a_correction_is_stored_with_consent_only(hub, tab, photograph, ask):
    for image, label, consent, words in [
        (photograph, "tulips", False, "Tick the box first"),
        (photograph, None, True, "Choose a photograph"),
        (photograph, "<b>", True, "Choose a photograph"),
        (None, "tulips", True, "Choose a photograph"),
    ]:
        assert words in tab.correct(image, label, consent, None, ask())[0]
    assert not list(tab.models.feedback.folder.rglob("*.jpg"))
    answer, consent = tab.correct(photograph, "tulips", True, None, ask("zh-CN"))
    assert ("谢谢，已保存。" in answer, consent) == (True, False)
    tab.correct(photograph, NONE_OF_THESE, True, None, ask())
    assert tab.models.feedback.connect()
    tab.models.feedback.close()
    rows, pictures = stored(hub)
    assert [row["label"] for row in rows] == ["tulips", ""]
    assert rows[0]["model"] == "flowers"
    assert set(pictures) == {row["file_name"] for row in rows}
    assert b"taken at home" not in next(iter(pictures.values()))
    assert hub.repos["dataset", "tester/corrections"].private
    assert not tab.said


def test_corrections_that_cannot_be_pushed_are_pushed_by_the_next_run(hub, tab, photograph, ask):
    assert tab.models.feedback.connect()
    tab.models.feedback._scheduler.trigger().result()
    hub.fail_next(999, 403, "/api/datasets")
    assert "Thank you" in tab.correct(photograph, "tulips", True, None, ask())[0]
    tab.models.feedback.close()
    assert tab.said[-1].startswith(
        "The last corrections could not be pushed to tester/corrections: they are kept"
    )
    assert not [line for line in tab.said if TOKEN in line or hub.url in line]
    hub.faults.clear()
    after = Feedback("tester/corrections", pytest.fail, tab.models.feedback.folder, minutes=60)
    assert after.connect()
    after.close()
    assert [row["label"] for row in stored(hub)[0]] == ["tulips"]


def test_corrections_are_stored_while_the_hub_is_down_at_the_start(hub, tab, photograph, ask):
    hub.fail_next(999, 403)
    assert not tab.models.feedback.connect()
    assert "Check the token's rights" in tab.said[0]
    assert "Thank you" in tab.correct(photograph, "tulips", True, None, ask())[0]
    hub.faults.clear()
    assert tab.models.feedback.connect()
    tab.models.feedback.close()
    assert len(stored(hub)[0]) == 1


@pytest.mark.parametrize("content", [b"[1, 2]", b"null", b"<html>Log in</html>"])
def test_an_answer_that_is_not_the_hub_s_is_said_and_tried_again(content, hub, tab, photograph, ask):
    hub.fail_next(9, 200, "/api/", content=content)
    assert not tab.models.feedback.connect()
    assert "cannot be pushed to the data set tester/corrections now" in tab.said[0]
    hub.faults.clear()
    tab.correct(photograph, "tulips", True, None, ask())
    assert tab.models.feedback.connect()
    tab.models.feedback.close()
    assert len(stored(hub)[0]) == 1


def test_the_end_of_the_page_does_not_wait_for_a_hub_for_ever(hub, tab, photograph, ask, monkeypatch):
    monkeypatch.setattr(feedback_module, "_LAST_COMMIT", 0.2)
    assert tab.models.feedback.connect()
    tab.models.feedback._scheduler.trigger().result()
    tab.correct(photograph, "tulips", True, None, ask())
    gate = hub.gates["/api/datasets"] = threading.Event()
    tab.models.feedback.close()
    gate.set()
    assert "are kept in" in tab.said[-1]
    tab.models.feedback._scheduler.trigger().result()


def test_visitors_cannot_fill_the_disk(tab, photograph, ask, monkeypatch):
    monkeypatch.setattr(feedback_module, "MAX_CORRECTIONS", 1)
    assert "Thank you" in tab.correct(photograph, "tulips", True, None, ask())[0]
    assert "No more corrections" in tab.correct(photograph, "tulips", True, None, ask())[0]


def test_a_folder_that_cannot_be_written_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert Feedback("tester/corrections", print, tmp_path / "file" / "kept").folder.is_dir()
