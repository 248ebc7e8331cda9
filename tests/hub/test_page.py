"""The page as a process of its own, beside a Hub that hangs, changes its models, or refuses."""

import pathlib
import subprocess
import threading
import time

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.helpers.hub_client import publish
from tests.helpers.hub_server import HubServer
from tests.helpers.pages import started
from tests.helpers.repositories import make_repository

pytestmark = pytest.mark.slow
TOKEN = "hf_0123456789abcdefghijklmnopqrstuvwx"
LATER = ("ant", "bee", "cat", "dog", "elk")  # the classes of a second commit


def waiting_seconds(process: subprocess.Popen) -> float:
    """How long the main thread of a process was ready to run while other programs had the processor."""
    return int(pathlib.Path(f"/proc/{process.pid}/schedstat").read_text().split()[1]) / 1e9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_repository(tmp_path_factory.mktemp("models") / "net")


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    return make_repository(tmp_path_factory.mktemp("models") / "later", LATER)


def test_a_page_starts_in_20_seconds_and_opens_its_model_later(folder, tmp_path):
    with HubServer() as hub:
        publish(hub, "tester/net", folder)
        gate = hub.gates[""] = threading.Event()
        began = time.monotonic()
        with started(hub, tmp_path, "--model", "tester/net") as page:
            page.wait(page.answers)
            assert time.monotonic() - began - waiting_seconds(page.process) < 20
            client = Client(page.address, verbose=False)
            assert client.predict(api_name="/model_info")["model"] == "flowers (bundled)"
            hub.gates.clear()
            gate.set()
            page.wait(lambda: client.predict(api_name="/model_info")["model"] == "tester/net")
            page.wait(lambda: "tester/net is open now." in page.log.read_text())
        assert "tester/net is still being downloaded. Until then, this page shows" in page.log.read_text()


@pytest.fixture(scope="module")
def hub(folder):
    """A Hub with the private model tester/secret, which opens with a token, and the public one tester/net."""
    with HubServer() as server:
        server.users = {TOKEN: "tester"}
        publish(server, "tester/secret", folder, private=True)
        publish(server, "tester/net", folder)
        yield server


@pytest.fixture(scope="module")
def page(hub, tmp_path_factory):
    options = ("--model", "tester/secret", "--models", "tester/net", "--refresh", "1")
    with started(hub, tmp_path_factory.mktemp("page"), *options, token=TOKEN) as page:
        page.wait(page.answers)
        client = Client(page.address, verbose=False)
        page.wait(lambda: client.predict(api_name="/model_info")["model"] == "tester/secret")
        yield page


def test_requests_during_a_change_of_the_model_are_all_answered(hub, page, folder, later):
    photograph = next(folder.glob("examples/*.jpg"))
    answers, errors = [], []
    done = threading.Event()

    def visit():
        client = Client(page.address, verbose=False)
        while not done.is_set():
            try:
                answers.append(client.predict(handle_file(photograph), 5, api_name="/classify"))
            except Exception as error:
                errors.append(error)

    visitors = [threading.Thread(target=visit) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    client = Client(page.address, verbose=False)
    try:
        page.wait(lambda: answers)
        for files in (later, folder, later):
            commit = publish(hub, "tester/secret", files)
            page.wait(lambda commit=commit: client.predict(api_name="/model_info")["revision"] == commit)
            count = len(answers)
            page.wait(lambda count=count: len(answers) > count + 3)
    finally:
        done.set()
        for visitor in visitors:
            visitor.join()
    assert not errors
    assert answers[-1]["label"] in LATER
    assert {answer["label"] in LATER for answer in answers} == {True, False}
    assert all(len(answer["confidences"]) == 5 for answer in answers)


def test_a_page_with_a_token_shows_writes_and_logs_it_nowhere(hub, page, folder):
    client = Client(page.address, verbose=False)
    photograph = handle_file(next(folder.glob("examples/*.jpg")))
    label = client.predict(photograph, 5, api_name="/classify")["label"]
    served = [
        str(client.predict(photograph, 5, api_name="/classify")),
        str(client.predict([photograph], api_name="/classify_batch")),
        pathlib.Path(client.predict(photograph, label, api_name="/explain")).read_bytes(),
        *(str(client.predict(model, api_name="/model_info")) for model in ("tester/secret", "tester/net")),
        *(
            httpx.get(page.address + path, timeout=60).content
            for path in ("/", "/?tab=card", "/config", "/gradio_api/info", "/gradio_api/openapi.json")
        ),
    ]
    with pytest.raises(Exception, match="is not offered") as refusal:
        client.predict("tester/other", api_name="/model_info")
    served.append(str(refusal.value))
    publish(hub, "tester/secret", folder, config__json=b"{}")
    page.wait(lambda: "this page keeps the commit of tester/secret that is open" in page.log.read_text())
    written = [path.read_bytes() for path in page.home.rglob("*") if path.is_file()]
    assert TOKEN in hub.tokens, "the page has sent it to the Hub"
    assert len(written) > 10
    for content in (*served, *written, page.log.read_bytes()):
        content = content.encode() if isinstance(content, str) else content
        assert TOKEN.encode() not in content
        assert TOKEN[3:].encode() not in content
