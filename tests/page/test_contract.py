"""The contract of the tabs: a tab shows a value for each of its outputs, and only when it is open."""

import gradio as gr
import pytest

from resnext.page.layout import TABS, Header
from resnext.page.models import Models
from tests.helpers.repositories import make_repository


@pytest.fixture(scope="module")
def tabs(models):
    """All tabs, built into a page, by name."""
    header = Header(models)
    tabs = [tab(models) for tab in TABS]
    with gr.Blocks():
        header.build()
        with gr.Tabs():
            for tab in tabs:
                tab.place(header.page)
    return {tab.name: tab for tab in tabs}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A repository without history, evaluation, model card and examples."""
    folder = make_repository(tmp_path_factory.mktemp("models") / "bare", complete=False)
    return Models([str(folder)]).open(None)


NAMES = [tab.name for tab in TABS]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_tab_shows_a_value_for_each_output(tabs, models, bare, name, language):
    tab = tabs[name]
    assert tab.outputs
    for model in (models.open(None), bare):
        assert len(tab.show(model, language)) == len(tab.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_an_opened_tab_is_filled_once_for_each_model_and_language(tabs, ask, name):
    tab = tabs[name]
    opened, filled, *values = tab.fill("flowers", None, request=ask())
    assert (opened, filled) == (name, ("flowers", (True, None), "en"))
    assert len(values) == len(tab.outputs)
    assert tab.fill("flowers", filled, request=ask()) == [name, *[gr.skip()] * (1 + len(values))]
    assert tab.fill("flowers", filled, request=ask("zh-CN"))[1] == ("flowers", (True, None), "zh")


@pytest.mark.parametrize("name", NAMES)
def test_a_tab_that_is_not_open_waits_when_the_model_changes(tabs, ask, name):
    tab = tabs[name]
    other = NAMES[NAMES.index(name) - 1]
    assert tab.fill("flowers", None, other, ask()) == [gr.skip()] * (2 + len(tab.outputs))
    assert tab.fill("flowers", None, name, ask())[0] == name
