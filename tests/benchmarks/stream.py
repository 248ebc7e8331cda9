"""A folder of photographs through `python -m resnext classify --json`, against the network's own limit.

    python tests/benchmarks/stream.py FOLDER_OF_PHOTOGRAPHS

The limit is OpenVINO's AsyncInferQueue on the same compiled network, with pixels that are ready. Decoding
needs the same cores: with nothing lost between the two, the stream would reach the bound, 1 / (1 / limit +
1 / decoding alone). Limit, decoding and stream take turns, each in a process of its own. The stream's time
is from its first line to its last.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import contenders
import numpy as np

from resnext.classifier import Classifier
from resnext.preprocessing import open_image, preprocess
from resnext.stream import image_files


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "photographs", type=pathlib.Path, help="folder of JPEGs, which are repeated if there are too few"
    )
    parser.add_argument(
        "--count", type=int, default=1000, help="photographs in a round (default: %(default)s)"
    )
    parser.add_argument(
        "--long",
        type=int,
        default=10_000,
        help="photographs in a long stream, to measure its memory (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds, whose medians are reported (default: %(default)s)"
    )
    parser.add_argument(
        "--precision", default="auto", help="as for `python -m resnext classify` (default: %(default)s)"
    )
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, model, precision = options.worker
        work = {"limit": measure_limit, "decoding": measure_decoding}[kind]
        print(
            json.dumps(
                work(
                    Classifier.from_pretrained(model, precision=precision),
                    list(image_files([options.photographs])),
                )
            )
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        some, many = (
            link(options.photographs, folder / str(count), count) for count in (options.count, options.long)
        )
        contenders.make_repository(folder / "random", "resnext50_32x4d", 224)
        models = {
            "resnext50_32x4d, 224 pixels": folder / "random",
            "the bundled flowers": contenders.ROOT / "resnext" / "flowers",
        }
        rows = [
            measure(name, model, some, many if model.name == "flowers" else None, options)
            for name, model in models.items()
        ]
    header = [
        "photographs a second",
        "limit",
        "decoding alone",
        "bound",
        "stream",
        "stream / limit",
        "stream / bound",
        "total s",
        "peak MB",
    ]
    header += [f"stream of {options.long}", "its peak MB"]
    contenders.print_table(header, rows, options.output)


def link(photographs: pathlib.Path, folder: pathlib.Path, count: int) -> pathlib.Path:
    """A folder of `count` links to photographs."""
    folder.mkdir()
    files = itertools.cycle(list(image_files([photographs.resolve()])))
    for index, file in enumerate(itertools.islice(files, count)):
        (folder / f"{index:06}{file.suffix}").symlink_to(file)
    return folder


def measure(
    name: str, model: pathlib.Path, some: pathlib.Path, many: pathlib.Path | None, options: argparse.Namespace
) -> list[str]:
    """A row of the table."""
    rounds = []
    for _ in range(options.rounds):
        limit, decoding = (
            contenders.run_worker(
                __file__,
                sys.executable,
                [str(some), "--worker", kind, str(model), options.precision],
                limit=3600,
            )
            for kind in ("limit", "decoding")
        )
        stream = measure_stream(model, some, options.precision)
        fault = limit.get("fault") or decoding.get("fault")
        if fault:
            return [name, fault, *[""] * 9]
        bound = 1 / (1 / limit["rate"] + 1 / decoding["rate"])
        ratios = stream["rate"] / limit["rate"], stream["rate"] / bound
        rounds.append(
            (
                limit["rate"],
                decoding["rate"],
                bound,
                stream["rate"],
                *ratios,
                stream["seconds"],
                stream["peak"],
            )
        )
    *rates, of_limit, of_bound, seconds, peak = np.median(rounds, axis=0)
    long = measure_stream(model, many, options.precision) if many else None
    return [
        name,
        *(f"{rate:.1f}" for rate in rates),
        f"{of_limit:.2f}",
        f"{of_bound:.2f}",
        f"{seconds:.1f}",
        f"{peak:.0f}",
        *((f"{long['rate']:.1f}", f"{long['peak']:.0f}") if long else ("", "")),
    ]


def measure_limit(classifier: Classifier, files: list[pathlib.Path]) -> dict:
    """The network alone, on as many images as there are files."""
    from openvino import AsyncInferQueue

    prep = classifier.config.preprocessing
    ready = [preprocess(open_image(file, prep.resize_to), prep)[None] for file in files[:200]]
    requests = AsyncInferQueue(classifier.throughput_model())
    for images in (ready[:20], itertools.islice(itertools.cycle(ready), len(files))):  # the first to warm up
        start = time.perf_counter()
        for image in images:
            requests.start_async({"images": image})
        requests.wait_all()
    return {"rate": len(files) / (time.perf_counter() - start)}


def measure_decoding(classifier: Classifier, files: list[pathlib.Path]) -> dict:
    """Files to what the network sees, on all cores."""
    prep = classifier.config.preprocessing
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        start = time.perf_counter()
        for _ in pool.map(lambda file: preprocess(open_image(file, prep.resize_to), prep), files):
            pass
        return {"rate": len(files) / (time.perf_counter() - start)}


def measure_stream(model: pathlib.Path, folder: pathlib.Path, precision: str) -> dict:
    """The command line, as a program reads it."""
    command = [
        sys.executable,
        "-m",
        "resnext",
        "classify",
        "--json",
        folder,
        "--model",
        model,
        "--precision",
        precision,
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=contenders.ROOT, stdout=subprocess.PIPE)
    times = []
    for line in process.stdout:
        times.append(time.perf_counter())
        if "error" in json.loads(line):
            raise SystemExit(line.decode())
    _, _, usage = os.wait4(process.pid, 0)
    rate = (len(times) - 1) / (times[-1] - times[0])
    return {"rate": rate, "seconds": times[-1] - started, "peak": usage.ru_maxrss / 1024}


if __name__ == "__main__":
    main()
