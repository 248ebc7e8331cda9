"""The page in Chromium while models come from a Hub on loopback."""

import os
import re
import subprocess
import sys
import threading

import pytest
from playwright.sync_api import expect

from resnext.classifier import Classifier
from resnext.page import layout
from resnext.page.models import Model, Models
from resnext.repository import Repository
from tests.helpers.hub_server import TOKEN, HubServer, environment
from tests.helpers.pages import PATIENCE, bars, page_process, served_models
from tests.helpers.paths import ROOT
from tests.helpers.repositories import make_repository

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A Hub that has tester/flowers, and the address `hub.page` of a page that opens any repository."""
    folder = tmp_path_factory.mktemp("hub")
    with HubServer() as hub:
        push = [
            sys.executable,
            "-m",
            "training",
            "push",
            make_repository(folder / "flowers"),
            "tester/flowers",
        ]
        subprocess.run(
            push,
            cwd=ROOT,
            env={**os.environ, **environment(hub.url, folder / "pusher", TOKEN)},
            check=True,
            capture_output=True,
        )
        variables = environment(hub.url, folder / "visitor")
        variables["RESNEXT_MODELS"] = "tester/flowers, tester/gone"
        with page_process("--allow-any-model", "--models-in-memory", 1, **variables) as address:
            hub.page = address
            yield hub


def test_a_chosen_model_and_a_typed_revision_are_downloaded(context, hub):
    page = context.new_page()
    page.goto(hub.page)
    box = page.get_by_label("Model", exact=True)
    box.click()
    expect(page.get_by_role("option")).to_contain_text(
        ["flowers (bundled)", "tester/flowers", "tester/gone"], timeout=PATIENCE
    )
    hub.gates["/model.safetensors"] = threading.Event()  # a slow Hub
    page.get_by_role("option", name="tester/flowers").click()
    expect(page.locator(".progress-text, .progress-level").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_role("heading", name="flowers (bundled)")).to_be_attached()
    hub.gates.popitem()[1].set()
    expect(page.get_by_role("heading", name="tester/flowers")).to_be_visible(timeout=PATIENCE)
    link = page.locator(".masthead a")
    expect(link).to_contain_text("on the Hub")
    commit = link.get_attribute("href").rpartition("/")[2]
    page.locator(".gallery button").first.click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)

    box.fill(f"tester/flowers@{commit}")
    box.press("Enter")
    expect(page.get_by_role("heading", name=f"tester/flowers@{commit}")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Model card").click()
    expect(page.locator(".card")).to_be_visible(timeout=PATIENCE)
    line = page.locator(".line", has_text="huggingface_hub").locator("textarea")
    expect(line).to_have_value(re.compile(f'revision="{commit}"'))
    page.close()


def test_a_missing_repository_is_named_in_the_error(context, hub):
    page = context.new_page()
    page.goto(f"{hub.page}/?model=nobody/nothing")
    expect(page.get_by_test_id("toast-body")).to_contain_text(
        "nobody/nothing is not on the Hub", timeout=PATIENCE
    )
    expect(page.get_by_role("heading", name="flowers (bundled)")).to_be_visible()
    page.close()


def test_the_error_about_a_chosen_model_is_shown_once(context, hub):
    page = context.new_page()
    page.goto(hub.page)
    box = page.get_by_label("Model", exact=True)
    box.click()
    page.get_by_role("option", name="tester/gone").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("tester/gone is not on the Hub", timeout=PATIENCE)
    expect(box).to_have_value("flowers (bundled)", timeout=PATIENCE)
    page.get_by_role("tab", name="Batch").click()
    page.wait_for_timeout(2000)  # a second question to the Hub would have been answered
    expect(toast).to_have_count(1)
    page.close()


def test_the_int8_form_of_a_model_can_be_chosen_and_linked_to(context, hub):
    page = context.new_page()
    page.goto(hub.page)
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name="flowers (bundled), int8").click()
    expect(page.get_by_role("heading", name="flowers (bundled), int8")).to_be_visible(timeout=PATIENCE)
    expect(page).to_have_url(re.compile("int8"))
    page.locator(".gallery button").first.click()
    expect(bars(page)).to_have_count(5, timeout=PATIENCE)
    page.goto(f"{hub.page}/?model=tester/flowers, int8")
    expect(page.locator(".notice")).to_contain_text(
        "tester/flowers has no int8 graph: classifying in float32", timeout=PATIENCE
    )
    page.close()


def test_an_open_page_changes_to_its_model_when_the_hub_is_back(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "_LOOK_AGAIN", 0.5)
    folder = make_repository(tmp_path / "flowers")
    models = Models(["tester/late", None])
    models.warning = "tester/late is still being downloaded. Until then, this page shows the bundled model."
    with served_models(models) as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator(".notice")).to_contain_text("still being downloaded", timeout=PATIENCE)
        expect(page.get_by_role("heading", name="flowers (bundled)")).to_be_visible()
        page.locator(".gallery button").first.click()
        expect(bars(page)).to_have_count(5, timeout=PATIENCE)
        answer = page.locator(".answer").text_content()
        late = Repository("tester/late", folder, "a" * 40)
        models._keep(Model(Classifier.open(late), "tester/late"))
        models.warning = ""
        expect(page.get_by_role("heading", name="tester/late")).to_be_visible(timeout=PATIENCE)
        expect(page.locator(".notice")).to_have_count(0)
        page.wait_for_function(
            "before => document.querySelector('.answer')?.textContent != before", arg=answer
        )
        expect(page.get_by_label("Model", exact=True)).to_have_value("tester/late")
        expect(page.locator(".gallery button").first).to_have_attribute("title", "example0", timeout=PATIENCE)
        page.close()
