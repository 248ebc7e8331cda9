"""Visitors who teach and visitors who classify, all at once: no error, flat memory, nobody's pictures mixed.

    python tests/benchmarks/teach_load.py --teaching 16 --classifying 16 --seconds 120

Each teaching visitor names two classes of their own, adds a picture to each in turn, tries a photograph, and
starts over after a while. Whatever the page answers must have that visitor's names only, and the number of
pictures that they have added. The visitors who classify send one photograph after another. A visitor whom a
full queue refuses tries again after a second.
"""

import argparse
import collections
import concurrent.futures
import itertools
import pathlib
import sys
import tempfile
import threading
import time

import contenders
import httpx
import page
import teach as teaching

from tests.helpers.teaching import Visitor

PICTURES = 10  # of a class, after which a visitor starts over
_LOCK = threading.Lock()  # of the photographs


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teaching", type=int, default=16, help="visitors (default: %(default)s)")
    parser.add_argument("--classifying", type=int, default=16, help="visitors (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120, help="(default: %(default)s)")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    options = parser.parse_args()
    counts: collections.Counter = collections.Counter()
    memory = []
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, str(contenders.ROOT / "app.py"), "--port"]
        with page.running(command, pathlib.Path(name)) as (process, address, *_):
            photographs = teaching.make_photographs()
            end = time.monotonic() + options.seconds
            visits = [(teach, number) for number in range(options.teaching)]
            visits += [(classify, number) for number in range(options.classifying)]
            with concurrent.futures.ThreadPoolExecutor(len(visits)) as executor:
                running = [
                    executor.submit(visit, address, number, photographs, end, counts)
                    for visit, number in visits
                ]
                while not all(future.done() for future in running):
                    memory.append(page.resident_megabytes(process.pid))
                    time.sleep(0.5)
                for future in running:
                    future.result()
    half = len(memory) // 2
    rows = [
        [
            str(options.teaching),
            str(options.classifying),
            *(str(counts[key]) for key in ("taught", "tried", "classified", "refused", "errors", "mixed")),
            *(f"{value:.0f}" for value in (max(memory[:half]), max(memory[half:]))),
        ]
    ]
    header = ["teaching", "classifying", "pictures taught", "photographs tried", "classified", "refused"]
    header += ["errors", "mixed", "peak MB, first half", "peak MB, second half"]
    contenders.print_table(header, rows, options.output)
    if counts["errors"] or counts["mixed"]:
        raise SystemExit("There were errors or mixed pictures.")


def teach(address, number, photographs, end, counts) -> None:
    """A visitor who teaches two classes of their own names again and again."""
    visitor = Visitor(address)
    names = [f"visitor {number} {side}" for side in ("left", "right")]
    try:
        while time.monotonic() < end:
            view = patiently(lambda: visitor.act(do="start over"), counts)
            numbers = [row["number"] for row in view["classes"]]
            for place, name in zip(numbers, names):
                patiently(
                    lambda p=place, n=name: visitor.act(**{"do": "rename", "class": p, "name": n}), counts
                )
            for total, place in zip(range(1, 2 * PICTURES + 1), itertools.cycle(numbers)):
                if time.monotonic() > end:
                    return
                view = patiently(lambda p=place: visitor.add(p, next_photograph(photographs)), counts)
                counts["taught"] += 1
                shown = [row["name"] for row in view["classes"]], sum(row["count"] for row in view["classes"])
                counts["mixed"] += shown != (names, total)
                if total > 2 and total % 4 == 0:
                    answer = patiently(lambda: visitor.try_photograph(next_photograph(photographs)), counts)
                    counts["tried"] += 1
                    counts["mixed"] += set(answer) != set(names)
    finally:
        visitor.close()


def classify(address, number, photographs, end, counts) -> None:
    """A visitor who classifies one photograph after another."""
    visitor = Visitor(address)
    try:
        while time.monotonic() < end:
            patiently(lambda: visitor.classify(next_photograph(photographs)), counts)
            counts["classified"] += 1
    finally:
        visitor.close()


def next_photograph(photographs) -> bytes:
    with _LOCK:
        return next(photographs)


def patiently(ask, counts):
    """Asks until the queue has a place."""
    while True:
        try:
            return ask()
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 503:
                counts["errors"] += 1
                raise
            counts["refused"] += 1
            time.sleep(1)
        except (httpx.HTTPError, ValueError):
            counts["errors"] += 1
            raise


if __name__ == "__main__":
    main()
