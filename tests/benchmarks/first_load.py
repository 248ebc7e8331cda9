"""The first page load of a visitor with a phone and a slow line: requests, bytes and seconds.

    python tests/benchmarks/first_load.py

Chromium with an empty cache loads the page at a phone's width through a line of 1.6 Mbit/s and 150 ms of
latency, the "Slow 4G" of Chromium's developer tools, until the tab that classifies can be used. An identity
page of Gradio shows what Gradio itself takes. Bytes are as sent, compressed and with headers, until nothing
more arrives; streams of events, which stay open while a page is, are counted by their requests only.
"""

import argparse
import csv
import pathlib
import sys
import tempfile
import time

import contenders
import page as pages
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(contenders.ROOT))

from tests.helpers.browsers import launch_chromium

# Seconds until a page has to be loaded, and without a request after which it is.
DEADLINE, QUIET = 240, 3
KINDS = ("Script", "Stylesheet", "Font", "Image", "Fetch", "Document")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--megabits", type=float, default=1.6, help="megabits a second (default: %(default)s)"
    )
    parser.add_argument("--latency", type=float, default=150, help="milliseconds (default: %(default)s)")
    parser.add_argument("--largest", type=int, default=0, help="also list this many of the largest files")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = pathlib.Path(name)
        identity = folder / "identity.py"
        identity.write_text(pages.IDENTITY, "utf-8")
        commands = {
            "identity": [sys.executable, str(identity), ""],
            "this project": [sys.executable, str(contenders.ROOT / "app.py"), "--port"],
        }
        browser = launch_chromium(playwright)
        for title, command in commands.items():
            with pages.running(command, folder) as (_, address, *_):
                files, seconds = load(browser, address, options)
            rows.append(summary(title, files, seconds))
            for size, kind, url in sorted(files, reverse=True)[: options.largest]:
                print(f"{size / 1000:8.1f} kB  {kind:10}  {url.removeprefix(address)[:90]}")
        browser.close()
    writer = csv.DictWriter(sys.stdout, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    if options.output:
        with options.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def load(browser, address: str, options) -> tuple[list[tuple[int, str, str]], float]:
    """Loads a page with an empty cache.

    Returns:
        The bytes, the kind and the address of each file, and the seconds until the page can be used.
    """
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    rate = options.megabits * 1e6 / 8
    line = {"latency": options.latency, "downloadThroughput": rate, "uploadThroughput": rate / 2}
    session.send("Network.emulateNetworkConditions", {"offline": False, **line})
    traffic = Traffic(session)
    begin = time.perf_counter()
    limit = {"timeout": 1000 * DEADLINE}
    page.goto(address, wait_until="commit", **limit)
    page.locator("input[type=file]").first.wait_for(state="attached", **limit)
    seconds = time.perf_counter() - begin
    while traffic.pending or time.perf_counter() < traffic.last + QUIET:
        if time.perf_counter() > begin + DEADLINE:
            waiting = ", ".join(traffic.pending.values())
            raise SystemExit(f"{address} is not loaded after {DEADLINE} s: it waits for {waiting}")
        page.wait_for_timeout(200)
    context.close()
    return traffic.files, seconds


class Traffic:
    """What a page requests.

    Args:
        session: A session of Chromium's developer tools, in which the network is enabled.
    """

    def __init__(self, session):
        self.files: list[tuple[int, str, str]] = []
        self.pending: dict[str, str] = {}
        self.last = time.perf_counter()
        self._responses: dict[str, dict] = {}
        session.on("Network.requestWillBeSent", self._ask)
        session.on("Network.responseReceived", self._respond)
        session.on("Network.loadingFinished", self._finish)
        session.on("Network.loadingFailed", self._fail)

    def _ask(self, event):
        url = event["request"]["url"]
        if not url.startswith(("data:", "blob:")):
            self.pending[event["requestId"]] = url
            self.last = time.perf_counter()

    def _respond(self, event):
        self._responses[event["requestId"]] = event
        if event["response"]["mimeType"] == "text/event-stream":
            self._end(event, event["response"]["encodedDataLength"])

    def _finish(self, event):
        self._end(event, event["encodedDataLength"])

    def _fail(self, event):
        self._end(event, 0)

    def _end(self, event, size: float):
        url = self.pending.pop(event["requestId"], None)
        if url:
            response = self._responses.get(event["requestId"], {"type": "Other"})
            self.files.append((int(size), response["type"], url))
            self.last = time.perf_counter()


def summary(title: str, files: list[tuple[int, str, str]], seconds: float) -> dict[str, object]:
    """One row of the table."""
    row: dict[str, object] = {"page": title, "requests": len(files)}
    row["kilobytes"] = round(sum(size for size, *_ in files) / 1000)
    for kind in KINDS:
        row[f"{kind.lower()} kB"] = round(sum(size for size, one, _ in files if one == kind) / 1000)
    row["seconds"] = round(seconds, 1)
    return row


if __name__ == "__main__":
    main()
