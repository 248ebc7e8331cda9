"""Many visitors at once: is every photograph either classified or refused because the queue is full?

    python tests/benchmarks/load.py --clients 64 --seconds 120

Each visitor uploads a photograph that the page has not seen, waits for the prediction, and starts again.
They speak the queue's protocol (upload, /queue/join, /queue/data) through httpx in one process: 64
`gradio_client.Client`s would spend the whole processor on loading certificates. A visitor who is refused
tries again after a second. 64 visitors, some of whom are being served, never fill a queue of 64 places:
more clients show refusals.
"""

import argparse
import asyncio
import collections
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
import uuid

import contenders
import httpx
import numpy as np
import page

# The start of Gradio's refusal, with HTTP status 503 (gradio/queueing.py, `push`).
FULL = "Queue is full."


@dataclasses.dataclass
class Counts:
    """The results of all requests.

    Attributes:
        seconds: The duration of each request that was answered.
        total: The seconds from the first request to the last answer.
        refused: The number of requests that the page refused because its queue was full.
        errors: The number of other errors, by message.
    """

    seconds: list[float] = dataclasses.field(default_factory=list)
    total: float = 0
    refused: int = 0
    errors: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnext50_32x4d", help="architecture (default: %(default)s)")
    parser.add_argument(
        "--image-size", type=int, default=224, help="height and width in pixels (default: %(default)s)"
    )
    parser.add_argument("--clients", type=int, default=64, help="visitors at once (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=120, help="how long new requests are made (default: %(default)s)"
    )
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        contenders.make_repository(folder, options.model, options.image_size)
        command = [sys.executable, str(contenders.ROOT / "app.py"), "--model", str(folder), "--port"]
        with page.running(command, folder) as (process, address, *_):
            counts, memory = asyncio.run(load(address, process.pid, folder, options))
    report(counts, memory, options)
    if counts.errors:
        raise SystemExit(f"{counts.errors.total()} requests failed: {counts.errors.most_common(5)}")


async def load(address, process, folder, options) -> tuple[Counts, list[float]]:
    """Runs all visitors; also returns the page's resident megabytes, taken every half second."""
    counts, memory = Counts(), []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=f"{address}gradio_api/", timeout=600, limits=limits) as client:
        config = (await client.get(f"{address}config")).json()
        event = next(event for event in config["dependencies"] if event["api_name"] == "classify")
        values = {component["id"]: component["props"].get("value") for component in config["components"]}
        # The inputs as a browser sends them.
        form = {"fn_index": event["id"], "data": [values[component] for component in event["inputs"]]}
        files = page.photographs(folder)
        await ask(client, form, next(files).read_bytes(), uuid.uuid4().hex)
        begin = time.perf_counter()
        watching = asyncio.create_task(watch(process, memory))
        await asyncio.gather(
            *(visit(client, form, files, begin + options.seconds, counts) for _ in range(options.clients))
        )
        counts.total = time.perf_counter() - begin
        watching.cancel()
        memory.append(page.resident_megabytes(process))
    return counts, memory


async def watch(process, memory):
    while True:
        memory.append(page.resident_megabytes(process))
        await asyncio.sleep(0.5)


async def visit(client, form, files, end, counts) -> None:
    """One visitor, who sends one photograph after another in one tab."""
    session = uuid.uuid4().hex
    while time.perf_counter() < end:
        photograph = next(files).read_bytes()
        begin = time.perf_counter()
        try:
            refusal = await ask(client, form, photograph, session)
        except (httpx.HTTPError, ValueError) as error:
            counts.errors[repr(error)] += 1
            continue
        if refusal:
            counts.refused += 1
            await asyncio.sleep(1)
        else:
            counts.seconds.append(time.perf_counter() - begin)


async def ask(client: httpx.AsyncClient, form: dict, photograph: bytes, session: str) -> bool:
    """Uploads a photograph and waits for its prediction.

    Returns:
        Whether the page refused because its queue is full.

    Raises:
        httpx.HTTPError, ValueError: The page gave neither a prediction nor that refusal.
    """
    uploaded = await client.post("upload", files={"files": ("photograph.jpg", photograph)})
    uploaded.raise_for_status()
    image = {"path": uploaded.json()[0], "orig_name": "photograph.jpg", "meta": {"_type": "gradio.FileData"}}
    body = {**form, "data": [image, *form["data"][1:]], "session_hash": session}
    joined = await client.post("queue/join", json=body)
    if joined.status_code == 503 and joined.json()["detail"].startswith(FULL):
        return True
    joined.raise_for_status()
    async with client.stream("GET", "queue/data", params={"session_hash": session}) as messages:
        async for line in messages.aiter_lines():
            message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
            if message.get("msg") == "process_completed":
                if not message["success"] or not message["output"]["data"][0]["confidences"]:
                    raise ValueError(f"no prediction: {message['output']}")
                return False
    raise ValueError("the queue's messages ended before the prediction")


def report(counts, memory, options):
    milliseconds = 1000 * np.array(counts.seconds or [np.nan])
    header = [
        "visitors",
        "seconds",
        "answers",
        "answers/s",
        "refused, queue full",
        "other errors",
        "p50 ms",
        "p95 ms",
        "MB at start",
        "MB peak",
        "MB at end",
    ]
    row = [
        str(options.clients),
        f"{counts.total:.0f}",
        str(len(counts.seconds)),
        f"{len(counts.seconds) / counts.total:.1f}",
        str(counts.refused),
        str(counts.errors.total()),
        f"{np.median(milliseconds):.0f}",
        f"{np.percentile(milliseconds, 95):.0f}",
        f"{memory[0]:.0f}",
        f"{max(memory):.0f}",
        f"{memory[-1]:.0f}",
    ]
    contenders.print_table(header, [row], options.output)


if __name__ == "__main__":
    main()
