"""The access token: a whole run with one in the environment writes, prints and sends it nowhere."""

import contextlib
import io
import json
import logging

import pytest

from tests.helpers.hub_server import HubServer, in_this_process
from tests.helpers.photographs import paint
from tests.helpers.training import run_training
from tests.training.helpers import write_network

pytestmark = pytest.mark.slow
TOKEN = "hf_0123456789abcdefghijklmnopqrstuvwx"


def test_a_whole_run_with_pushes_shows_the_token_nowhere(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("resnext.hub_requests.MAX_WAIT", 1)
    data = paint(tmp_path / "colors")
    output = tmp_path / "model"
    base = write_network(tmp_path / "base").folder
    settings = ("--pretrained", base, "--epochs", 2, "--image-size", 41, "--batch-size", 8)
    options = ("--push-to-hub", "tester/colors", "--push-every", 1, "--private", "--license", "mit")
    printed = []
    with HubServer() as hub, in_this_process(hub.url, tmp_path / "home", TOKEN):
        hub.users = {TOKEN: "tester"}

        def run(*arguments, status=0):
            result = run_training(*arguments)
            assert result.returncode == status, result.stderr
            printed.extend([result.stdout, result.stderr])

        run("fit", data, "--output", output, *settings, *options)
        bodies = [body for body in hub.bodies if b'"summary"' in body]
        titles = [json.loads(body.splitlines()[0])["value"]["summary"] for body in bodies]
        assert (titles[0], titles[-1]) == ("Epoch 1", "Upload model")
        assert "Epoch 1 was pushed to " in printed[0]
        assert f"tester/colors/commit/{hub.repos['model', 'tester/colors'].find('main')[1]}" in printed[0]
        card = hub.repos["model", "tester/colors"].find("main")[2]["README.md"].content.decode()
        assert "Each class has 12 training images." in card
        run("evaluate", data, "--model", output)
        run("push", output, "tester/colors", "--message", "Again", "--tag", "v1")
        hub.fail_next(9, 403, "/api/")
        run("push", output, "tester/other", status=1)
        hub.faults.clear()
        hub.users = {"hf_another": "tester"}
        run("push", output, "tester/other", status=1)
        hub.users = {TOKEN: "tester"}
        classified = io.StringIO()
        from resnext.classifier import Classifier

        with contextlib.redirect_stdout(classified), contextlib.redirect_stderr(classified):
            picture = next((data / "test").rglob("*.png"), None) or next((data / "test").rglob("*.jpg"))
            Classifier.from_pretrained("tester/colors")(picture)
        printed.append(classified.getvalue())
        contents = [
            file.content
            for _, repo in hub.repos.items()
            for tree in repo.commits.values()
            for file in tree.values()
        ]
        sent = [*hub.bodies, *(path.encode() for _, path in hub.requests), *contents]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    secret = TOKEN.encode()
    assert len(written) > 30
    assert len(sent) > 30
    assert any(b"tester/colors" in content for content in written)
    for content in (*written, *sent, *(text.encode() for text in printed), caplog.text.encode()):
        assert secret not in content
        assert secret[3:] not in content
