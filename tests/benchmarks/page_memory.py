"""The memory of a page with ResNeXt-50 32x4d (random weights), from its start to many visitors at once.

    python tests/benchmarks/page_memory.py --output tests/benchmarks/results/page_memory.csv

Each page is a process of its own, once in the precision that it chooses on this processor and once in
float32, as on processors that compute in nothing else.
"""

import argparse
import concurrent.futures
import functools
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time

import contenders
import httpx
import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

from tests.helpers.pages import free_port

HEADER = ["precision", "after", "MB", "of which pages of files", "at most"]
VISITORS = 8


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--page", nargs=3, metavar=("PRECISION", "MODEL", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.page:
        run_page(*options.page)
        return
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        contenders.make_repository(folder / "net", "resnext50_32x4d", 224)
        files = [make_photograph(folder / f"{index}.jpg", index) for index in range(5 * VISITORS)]
        for precision in ("auto", "float32"):
            rows += measure(precision, folder / "net", files)
    contenders.print_table(HEADER, rows, options.output)


def run_page(precision: str, model: str, port: str) -> None:
    """Runs `app.py` in a precision."""
    if precision != "auto":
        import resnext.runtimes

        resnext.runtimes._HINTS["auto"] = resnext.runtimes._HINTS[precision]
    sys.argv = ["app.py", "--model", model, "--port", port]
    runpy.run_path(str(contenders.ROOT / "app.py"), run_name="__main__")


def make_photograph(path: pathlib.Path, seed: int) -> pathlib.Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (375, 500, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def measure(precision: str, model: pathlib.Path, files: list[pathlib.Path]) -> list[list[str]]:
    """Uses a page as visitors do, and returns the rows of the table."""
    port = free_port()
    command = [sys.executable, __file__, "--page", precision, str(model), str(port)]
    process = subprocess.Popen(command, cwd=contenders.ROOT, stdout=subprocess.DEVNULL)
    rows = []

    def note(after: str) -> None:
        time.sleep(2)
        lines = pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines)
        sizes = [int(values[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "RssFile", "VmHWM")]
        rows.append([used, after, *(f"{size:.0f}" for size in sizes)])

    try:
        client = wait_for(port, process)
        used = client.predict(api_name="/model_info")["precision"]
        note("the start")
        classify = functools.partial(client.predict, top_k=5, api_name="/classify")
        for file in files[:VISITORS]:
            classify(handle_file(file))
        note(f"{VISITORS} photographs one after another")
        client.predict(handle_file(files[0]), api_name="/explain")
        note("an explanation")
        with concurrent.futures.ThreadPoolExecutor(VISITORS) as visitors:
            list(visitors.map(classify, map(handle_file, files[VISITORS:])))
        note(f"{len(files) - VISITORS} photographs of {VISITORS} visitors at once")
        client.predict(list(map(handle_file, files)), api_name="/classify_batch")
        note(f"a batch of {len(files)}")
    finally:
        process.terminate()
        process.wait(30)
    return rows


def wait_for(port: int, process: subprocess.Popen) -> Client:
    while process.poll() is None:
        try:
            return Client(f"http://127.0.0.1:{port}", verbose=False)
        except (OSError, httpx.TransportError):
            time.sleep(0.5)
    sys.exit("The page ended before it answered.")


if __name__ == "__main__":
    main()
