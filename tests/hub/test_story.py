"""The whole path of a user: photographs, training, Hub, page, prediction; each command in its own process."""

import json
import os

import pytest
from playwright.sync_api import expect

from tests.helpers.hub_server import TOKEN, HubServer, environment
from tests.helpers.pages import PATIENCE, bars, page_process, upload
from tests.helpers.photographs import paint
from tests.helpers.training import run_training

pytestmark = pytest.mark.slow


def test_a_trained_model_is_pushed_and_the_page_pulls_and_uses_it(browser, tmp_path):
    photographs = paint(tmp_path / "colors")
    output = tmp_path / "model"
    with HubServer() as hub:
        options = ("--epochs", 2, "--image-size", 41, "--batch-size", 8, "--push-to-hub", "tester/colors")
        env = os.environ | environment(hub.url, tmp_path / "home", TOKEN)
        trained = run_training("fit", photographs, "--output", output, *options, env=env)
        assert trained.returncode == 0, trained.stderr
        assert "tester/colors/commit/" in trained.stdout.splitlines()[-1]

        variables = environment(hub.url, tmp_path / "other home")
        with page_process("--model", "tester/colors", **variables) as address:
            page = browser.new_page()
            page.goto(address)
            expect(page.get_by_role("heading", name="tester/colors")).to_be_visible(timeout=PATIENCE)
            result = json.loads((output / "evaluation.json").read_bytes())
            first = result["predictions"][0]
            upload(page, photographs / first["file"])
            expect(bars(page)).to_have_count(3, timeout=PATIENCE)
            expect(bars(page).first).to_contain_text(first["predicted"])
            page.get_by_role("tab", name="Test").click()
            numbers = page.locator(".figures").filter(has_text="top-1 accuracy")
            expect(numbers).to_contain_text(f"{result['top1']:.1%}", timeout=PATIENCE)
            page.close()
