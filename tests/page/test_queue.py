"""The queue: a visitor who leaves frees a place, and a full queue refuses visitors."""

import concurrent.futures
import contextlib
import threading
import time
import types
import uuid

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from resnext.page.launch import serve
from resnext.page.layout import build_page
from resnext.page.models import Models
from tests.helpers.pages import free_port
from tests.helpers.photographs import save_image
from tests.helpers.repositories import make_repository


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A page whose network waits until `go` is set.

    Returns:
        page, address, the event `go`, `begun` (how many times the network was begun) and `photograph(seed)`.
    """
    models = Models([str(make_repository(tmp_path, complete=False))])
    classifier = models.open(None).classifier
    go = threading.Event()
    begun = []
    run = classifier.run

    def wait_and_run(pixels):
        begun.append(pixels)
        assert go.wait(30)
        return run(pixels)

    monkeypatch.setattr(classifier, "run", wait_and_run)
    page = build_page(models)
    _, address, _ = serve(page, "127.0.0.1", free_port(), prevent_thread_lock=True, quiet=True)

    def photograph(seed: int):
        return save_image(tmp_path / f"{seed}.png", seed)

    yield types.SimpleNamespace(page=page, address=address, go=go, begun=begun, photograph=photograph)
    go.set()
    page.close(verbose=False)


def join(slow, photograph) -> str:
    """Uploads a photograph and joins the queue with it as a browser does; returns the session."""
    config = httpx.get(f"{slow.address}config").json()
    event = next(event for event in config["dependencies"] if event["api_name"] == "classify")
    values = {component["id"]: component["props"].get("value") for component in config["components"]}
    with photograph.open("rb") as file:
        (path,) = httpx.post(f"{slow.address}gradio_api/upload", files={"files": file}).json()
    image = {"path": path, "orig_name": photograph.name, "meta": {"_type": "gradio.FileData"}}
    session = uuid.uuid4().hex
    data = [image, *(values[component] for component in event["inputs"][1:])]
    body = {"data": data, "fn_index": event["id"], "session_hash": session}
    httpx.post(f"{slow.address}gradio_api/queue/join", json=body).raise_for_status()
    return session


@contextlib.contextmanager
def listening(slow, session: str):
    """The stream of messages that a tab holds open; leaving the block is closing the tab."""
    with httpx.stream(
        "GET", f"{slow.address}gradio_api/queue/data", params={"session_hash": session}
    ) as messages:
        lines = messages.iter_lines()  # httpx closes the stream when this is gone
        next(lines)
        yield


def waiting(slow) -> int:
    return httpx.get(f"{slow.address}gradio_api/queue/status").json()["queue_size"]


def in_time(condition, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def occupy(slow, executor) -> list[concurrent.futures.Future]:
    """As many visitors being served as the page serves at once."""
    most = slow.page._queue.default_concurrency_limit
    client = Client(slow.address, verbose=False)
    served = [
        executor.submit(client.predict, handle_file(slow.photograph(seed)), api_name="/classify")
        for seed in range(most)
    ]
    assert in_time(lambda: len(slow.begun) == most)
    return served


def test_a_visitor_who_leaves_the_queue_frees_their_place(slow):
    with concurrent.futures.ThreadPoolExecutor() as executor:
        served = occupy(slow, executor)
        with listening(slow, join(slow, slow.photograph(100))):
            assert waiting(slow) == 1
        assert in_time(lambda: waiting(slow) == 0)
        slow.go.set()
        assert all(future.result(60)["label"] for future in served)
    assert len(slow.begun) == len(served)


def test_a_visitor_who_leaves_while_being_served_frees_their_place(slow):
    with concurrent.futures.ThreadPoolExecutor() as executor:
        for seed in range(slow.page._queue.default_concurrency_limit):
            with listening(slow, join(slow, slow.photograph(seed))):
                assert in_time(lambda count=seed + 1: len(slow.begun) == count)
        client = Client(slow.address, verbose=False)
        patient = executor.submit(client.predict, handle_file(slow.photograph(100)), api_name="/classify")
        assert in_time(lambda: waiting(slow) == 1)
        slow.go.set()
        assert patient.result(60)["label"]
    assert in_time(lambda: not any(slow.page._queue.active_jobs))


def test_a_full_queue_refuses_visitors_until_it_is_shorter(slow):
    slow.page._queue.max_size = 2
    client = Client(slow.address, verbose=False)
    with concurrent.futures.ThreadPoolExecutor() as executor:
        served = occupy(slow, executor)
        for seed in (100, 101):
            served.append(
                executor.submit(client.predict, handle_file(slow.photograph(seed)), api_name="/classify")
            )
        assert in_time(lambda: waiting(slow) == 2)
        with pytest.raises(QueueError, match="Queue is full! Please try again."):
            client.predict(handle_file(slow.photograph(102)), api_name="/classify")
        slow.go.set()
        assert all(future.result(60)["label"] for future in served)
    assert client.predict(handle_file(slow.photograph(102)), api_name="/classify")["label"]
