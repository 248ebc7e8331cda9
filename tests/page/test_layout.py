"""The page's layout: what it shows of complete, bare, corrupt and hostile repositories, and its header."""

import copy
import json
import pathlib

import gradio as gr
import pytest

import resnext.repository
from resnext.page import header
from resnext.page.layout import TABS, Header, build_page, selected_tab
from resnext.page.models import BUNDLED_NAME, Model, Models
from resnext.page.upkeep import open_models
from resnext.repository import Repository
from tests.helpers.repositories import HOSTILE, make_repository


def page_text(folder: pathlib.Path, warning: str = "") -> str:
    """All that the page sends to a browser when it opens and when its tabs are opened, as JSON."""
    models = Models([str(folder)])
    models.warning = warning
    config = build_page(models).get_config_file()
    return json.dumps([config, *tabs(folder)], default=str)


def tabs(folder: pathlib.Path) -> list[list]:
    """What the tabs of a repository show when they are opened."""
    models = Models([str(folder)])
    parts = []
    for tab in TABS:
        values = tab(models).show(models.open(None), "en")
        parts.append(
            [value.value if isinstance(value, gr.components.Component) else value for value in values]
        )
    return parts


def test_what_a_repository_says_reaches_the_page_as_text(tmp_path):
    text = page_text(make_repository(tmp_path, HOSTILE), warning="<script>window.hacked = 6</script>")
    config, *tabs = json.loads(text)
    blocks = [block["props"].get("value") for block in config["components"] if block["type"] == "html"]
    blocks += [
        value for values in tabs for value in values if isinstance(value, str) and value.startswith("<")
    ]
    assert len(blocks) > 6
    for block in filter(None, blocks):
        assert not any(tag in block for tag in ("<img src=x", "<script", "<b>", '<a href="javascript'))
    assert "&lt;script&gt;window.hacked = 6" in text


def test_a_repository_without_its_optional_files_says_so(tmp_path):
    text = page_text(make_repository(tmp_path, complete=False))
    for name in ("history.csv", "recipe.json", "evaluation.json"):
        assert f"This repository has no {name}" in text


@pytest.mark.parametrize("name", ["history.csv", "recipe.json", "evaluation.json"])
@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"classes": 3}', "epoch,loss\n1,2", "\x00", "[" * 100_000, b"\xff\xfe"]
)
def test_a_corrupt_file_hides_only_what_it_would_have_shown(classifier, tmp_path, name, content):
    for file in classifier.repository.folder.glob("*.*"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    text = json.dumps(tabs(tmp_path), default=str)
    assert text.count("cannot be read (") == 1
    assert f"The {name} of this repository cannot be read (" in text


def test_the_bundled_model_replaces_one_that_cannot_be_opened(repository, monkeypatch, tmp_path):
    monkeypatch.setitem(resnext.repository.BUNDLED, "flowers", repository)
    models = open_models(str(tmp_path))
    assert models.open(None).folder == repository
    assert "is not a model repository" in models.warning
    assert "bundled" in models.warning
    assert str(tmp_path.parent) not in models.warning


def test_a_stale_copy_is_shown_with_a_notice_and_a_link(classifier):
    stale = copy.copy(classifier)
    reason = "The Hub cannot be reached, so someone/flowers could not be downloaded: check the connection."
    text = f"{reason} Until then, the copy of commit aaaaaaa is used."
    stale.repository = Repository("someone/flowers", classifier.repository.folder, "a" * 40, text)
    model = Model(stale, "someone/flowers")
    assert "The Hub cannot be reached" in header.notice(model)
    assert "aaaaaaa" in header.notice(model)
    assert header.notice(model, "zh") == "暂时无法更新：使用提交 aaaaaaa 的副本。"
    assert "/someone/flowers/tree/" + "a" * 40 in header.masthead(model)


def test_the_header_shows_another_model_in_the_language_of_the_visitor(tmp_path, models, ask):
    second = make_repository(tmp_path / "second", ["a", "b"], complete=False)
    top = Header(Models([*filter(None, models.sources.values()), str(second)]))
    names, name, masthead, note, _ = top.switch("second", ask("zh-CN"), lambda *progress: None)
    assert [choice for choice, _ in names.choices] == ["flowers", "gone", "second"]
    assert (names.value, name, note) == ("second", "second", "")
    assert "2 个类别" in masthead
    with pytest.raises(gr.Error, match="gone"):
        top.switch("gone", ask(), lambda *progress: None)


def test_the_address_may_ask_for_a_model_and_a_tab(models, ask):
    top = Header(models)
    with gr.Blocks():
        top.build()
    _, name, *unchanged = top.arrive(ask(), None)
    assert (name, unchanged) == ("flowers", [gr.skip()] * 3)
    _, name, masthead, note, waiting = top.arrive(ask("zh-CN"), lambda *progress: None)
    assert (name, note, waiting.active) == ("flowers", "", False)
    assert "5 个类别" in masthead
    assert selected_tab(ask(tab="test")).selected == "test"
    assert selected_tab(ask(tab="nowhere")) == gr.skip()
    assert selected_tab(ask()) == gr.skip()


def test_a_visitor_of_the_bundled_model_gets_the_default_when_it_opens(classifier, ask):
    def progress(*_):
        return None

    models = Models(["someone/flowers", None])
    models.warning = "The Hub is down. Until then, this page shows the bundled model."
    top = Header(models)
    with gr.Blocks():
        top.build()
    _, name, masthead, note, waiting = top.arrive(ask(model="someone/flowers"), progress)
    assert (name, waiting.active) == (BUNDLED_NAME, True)
    assert "The Hub is down." in note
    assert "先显示自带模型" in top.arrive(ask("zh-CN"), progress)[3]
    assert top.recover(BUNDLED_NAME, 0, ask()) == (gr.skip(),) * 6

    copied = copy.copy(classifier)
    copied.repository = Repository("someone/flowers", classifier.repository.folder, "a" * 40)
    models._keep(Model(copied, "someone/flowers"))
    models.warning = ""
    _, name, masthead, note, waiting, recovered = top.recover(BUNDLED_NAME, 0, ask())
    assert (name, note, waiting.active, recovered) == ("someone/flowers", "", False, 1)
    assert "aaaaaaa" in masthead
    assert top.recover("another", 0, ask())[4].active is False
    assert top.arrive(ask(), progress)[1] == "someone/flowers", "a new visitor, too"
    assert models.get(None).name == "someone/flowers", "a program, too"


def test_the_properties_of_a_model_are_described_for_programs(models):
    assert Header(models).model_info()["model"] == "flowers"
