"""The whole path as a stranger walks it: folder, training, Hub, page, answer; every step a process of its own."""

import json
import os
import pathlib
import re
import subprocess
import sys
import threading

from playwright.sync_api import expect

from tests.helpers.hub_server import TOKEN, HubServer, environment
from tests.helpers.pages import PATIENCE, bars, upload
from tests.helpers.photographs import paint

ROOT = pathlib.Path(__file__).parents[2]


def test_a_folder_becomes_a_model_on_the_hub_that_the_page_pulls_and_classifies_with(browser, tmp_path):
    photographs, output = paint(tmp_path / "colours"), tmp_path / "model"
    with HubServer() as hub:
        env = {**os.environ, **environment(hub.url, tmp_path / "home", TOKEN)}
        options = [
            "--epochs",
            "2",
            "--image-size",
            "41",
            "--batch-size",
            "8",
            "--push-to-hub",
            "tester/colours",
        ]
        command = [sys.executable, "-m", "training", "fit", photographs, "--output", output, *options]
        trained = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
        assert trained.returncode == 0, trained.stderr
        assert "tester/colours/commit/" in trained.stdout.splitlines()[-1]

        env = {**os.environ, **environment(hub.url, tmp_path / "other home")}
        command = [sys.executable, "-u", "app.py", "--model", "tester/colours"]
        page_server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        try:
            address = next(
                match[0] for line in page_server.stdout if (match := re.search(r"http://[\d.:]+", line))
            )
            threading.Thread(target=page_server.stdout.read, daemon=True).start()
            page = browser.new_page()
            page.goto(address)
            expect(page.get_by_role("heading", name="tester/colours")).to_be_visible(timeout=PATIENCE)
            result = json.loads((output / "evaluation.json").read_bytes())
            first = result["predictions"][0]
            upload(page, photographs / first["file"])
            expect(bars(page)).to_have_count(3, timeout=PATIENCE)
            expect(bars(page).first).to_contain_text(first["predicted"])
            page.get_by_role("tab", name="Test").click()
            numbers = page.locator(".figures").filter(has_text="top-1 accuracy")
            expect(numbers).to_contain_text(f"{result['top1']:.1%}", timeout=PATIENCE)
            page.close()
        finally:
            page_server.terminate()
            page_server.wait(30)
