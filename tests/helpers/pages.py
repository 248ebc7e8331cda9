"""A page on a free port, and what a visitor does in it through Playwright."""

import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from tests.helpers.hub_server import HubServer, environment
from tests.helpers.paths import ROOT

PATIENCE = 15_000  # milliseconds
STARTUP = 180  # seconds, on a busy machine
TABS = ("Classify", "Batch", "Teach", "Training", "Test", "Inside ResNeXt", "Model card")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that no program listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(*folders: pathlib.Path, warning: str = "", **options) -> Iterator[str]:
    """Serves a page in this process for as long as the block runs.

    Args:
        folders: The model repositories that the page offers.
        warning: The warning that the page shows at its top.
        options: The options of `Models`.

    Yields:
        The address of the page.
    """
    from resnext.page.models import Models

    models = Models(map(str, folders), **options)
    models.warning = warning
    with served_models(models) as address:
        yield address


@contextlib.contextmanager
def served_models(models) -> Iterator[str]:
    """Serves a page of these `Models` in this process, and yields its address."""
    from resnext.page.launch import serve
    from resnext.page.layout import build_page

    page = build_page(models)
    _, address, _ = serve(page, "127.0.0.1", free_port(), prevent_thread_lock=True, quiet=True)
    yield address
    page.close(verbose=False)


@contextlib.contextmanager
def page_process(*options, path: str = "", **variables: str) -> Iterator[str]:
    """Runs `python app.py OPTIONS...` in a process of its own for as long as the block runs.

    Args:
        options: The options of the command line. A free port is chosen unless they name one.
        path: A regular expression of what has to follow the page's address in the line that is waited for.
        variables: Environment variables beside those of this process.

    Yields:
        The address of the page, with what `path` matched.
    """
    port = () if "--port" in options else ("--port", free_port())
    command = [sys.executable, "-u", "app.py", *map(str, (*options, *port))]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **variables}, stdout=subprocess.PIPE, text=True
    )
    address = re.compile(rf"https?://[\d.:]+{path}")
    # A page whose output is not read stops when the pipe is full.
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    try:
        found = next((match[0] for line in process.stdout if (match := address.search(line))), None)
        assert found, "app.py ended before it printed its address"
        reader.start()
        yield found
    finally:
        process.terminate()
        process.wait(30)
        if reader.ident:
            reader.join(30)
        process.stdout.close()


class StartedPage(NamedTuple):
    """A page that runs.

    Args:
        address: Its address.
        process: Its process.
        log: The file of all that it prints.
        home: The folder of all that it writes.
    """

    address: str
    process: subprocess.Popen
    log: pathlib.Path
    home: pathlib.Path

    def wait(self, condition) -> None:
        """Waits until something is true; an error of the connection means that it is not."""
        for _ in range(STARTUP * 5):
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError, ValueError, httpx.HTTPError):
                if condition():
                    return
            time.sleep(0.2)
        pytest.fail(f"it did not happen within {STARTUP} seconds: {self.log.read_text()}")

    def answers(self) -> bool:
        """Whether it sends the page. Certificates of these tests are self-signed."""
        return httpx.get(self.address, timeout=5, verify=False).status_code == 200


@contextlib.contextmanager
def started(
    hub: HubServer, top: pathlib.Path, *options, token: str = "", port: int | None = None, **variables: str
) -> Iterator[StartedPage]:
    """Starts `python app.py OPTIONS...`, and ends it with the block. It may not answer yet.

    Args:
        hub: The Hub that it uses.
        top: The folder of its log and of all that it writes.
        options: The options of the command line.
        token: The access token of its owner, if there is one.
        port: Its port. Default: a free one.
        variables: Further environment variables.
    """
    port = port or free_port()
    variables |= environment(hub.url, top / "home", token) | {
        "GRADIO_TEMP_DIR": str(top / "home" / "gradio"),
        "TMPDIR": str(top / "home"),
    }
    scheme = "https" if "--ssl-certfile" in options else "http"
    (top / "home").mkdir()
    with (top / "log").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), *map(str, options)],
            cwd=ROOT,
            env=os.environ | variables,
            stdout=output,
            stderr=output,
        )
        try:
            yield StartedPage(f"{scheme}://127.0.0.1:{port}", process, top / "log", top / "home")
        finally:
            process.terminate()
            process.wait(STARTUP)


def open_tab(page, name: str) -> None:
    """Opens a tab of a Playwright page and waits until the tab is filled."""
    from playwright.sync_api import expect

    page.get_by_role("tab", name=name, exact=True).click()
    filled = {
        "Classify": ".photograph",
        "Batch": ".many",
        "Teach": ".taught",
        "Training": ".curve .main-svg",
        "Test": ".heatmap .main-svg",
        "Inside ResNeXt": ".wires",
        "Model card": ".card",
    }
    expect(page.locator(filled[name]).first).to_be_visible(timeout=PATIENCE)


def choose_model(page, name: str) -> None:
    """Chooses a model in the page's list of models."""
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=name).click()


def upload(page, file) -> None:
    """Uploads a photograph, a path or a Playwright file payload, in the tab that classifies."""
    page.locator("input[type=file]").first.set_input_files(file)


def close_toasts(page):
    """Closes the messages at the edge of the page. They may also go by themselves, while one is clicked."""
    page.evaluate("document.querySelectorAll('[data-testid=toast-close]').forEach(button => button.click())")


def remove_photograph(page):
    """Removes the photograph, if any. One that could not be read may go by itself, while it is clicked."""
    from playwright.sync_api import expect

    page.evaluate(
        "document.querySelectorAll('[aria-label=\"Remove Image\"]').forEach(button => button.click())"
    )
    expect(page.get_by_label("Remove Image")).to_have_count(0, timeout=PATIENCE)
    expect(bars(page)).to_have_count(0, timeout=PATIENCE)


def bars(page):
    """The locator of the predicted classes, one bar each."""
    return page.locator("[data-testid$=-confidence-set]")
