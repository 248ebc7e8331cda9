"""ResNeXt on a CPU: this project against stock Keras, PyTorch, ONNX Runtime and OpenVINO.

    python tests/benchmarks/serve.py --peer-python OTHER_ENVIRONMENT/bin/python

Every contender has the same random weights and runs in a process of its own, one after another. Their
logits have to agree. The time is that of the network alone, from uint8 pixels (normalized by each framework
as usual) to logits. 64 images are given at once: to OpenVINO as asynchronous requests, to the others in
batches of 1, 8 or 64, whichever is fastest. An int8 network is made beforehand and calibrated on the same
64 images. Where the processor lacks bfloat16, OpenVINO computes in float32 instead, and PyTorch emulates it
slowly. The first output counts from the start of the process (torch.compile has not compiled before).
"model MB" is the size of the model's downloads, "installed MB" that of the packages needed to classify,
with all their requirements.
"""

import argparse
import json
import os
import pathlib
import resource
import sys
import tempfile
import time
import typing

import contenders
import frameworks
import numpy as np

from resnext.config import ModelConfig

IMAGES = 64
SECONDS = 8  # A slow contender classifies single images for this long, and fewer than 64.
LONG = 120  # Seconds after which a contender does not try a larger batch.
PRECISIONS = ("float32", "bfloat16", "int8")
SAFETENSORS = ("config.json", "model.safetensors")
QUANTIZED = ("openvino_int8.xml", "openvino_int8.bin", "quantization.json")


class Contender(typing.NamedTuple):
    """A row of the table: its worker, the files that it downloads, and its preparations in order."""

    worker: str
    downloads: tuple[str, ...] = SAFETENSORS
    prepared: tuple[str, ...] = ()


CONTENDERS = {
    "this project, float32": Contender("here-float32"),
    "this project, bfloat16": Contender("here-bfloat16"),
    "this project, int8": Contender("here-int8", (*SAFETENSORS, *QUANTIZED), ("here_int8",)),
    "stock Keras, float32": Contender("keras"),
    "PyTorch, float32": Contender("torch-float32"),
    "PyTorch channels_last, float32": Contender("torch-channels_last"),
    "PyTorch torch.compile, float32": Contender("torch-compile"),
    "PyTorch channels_last, bfloat16": Contender("torch-channels_last_bfloat16"),
    "PyTorch torch.compile, bfloat16": Contender("torch-compile_bfloat16"),
    "PyTorch channels_last, int8": Contender("torch-channels_last_int8", ("torch_int8.pt",), ("torch_int8",)),
    "ONNX Runtime, float32": Contender("onnxruntime-float32", ("float32.onnx",), ("onnx",)),
    "ONNX Runtime, int8": Contender("onnxruntime-int8", ("int8.onnx",), ("onnx", "onnx_int8")),
    "OpenVINO from ONNX, float32": Contender(
        "openvino-float32", ("float32.xml", "float32.bin"), ("onnx", "openvino")
    ),
    "OpenVINO from ONNX, bfloat16": Contender(
        "openvino-bfloat16", ("float32.xml", "float32.bin"), ("onnx", "openvino")
    ),
    "OpenVINO from ONNX, int8": Contender(
        "openvino-int8", ("int8.xml", "int8.bin"), ("onnx", "openvino", "openvino_int8")
    ),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnext50_32x4d", help="architecture (default: %(default)s)")
    parser.add_argument(
        "--image-size", type=int, default=224, help="height and width in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=100,
        help="single images, after 10 to warm up (default: %(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="run the contenders whose names contain one of these"
    )
    parser.add_argument("--peer-python", help="interpreter for contenders that this one lacks")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="CSV file for the table, written after every row; the ratios go beside it",
    )
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], pathlib.Path(options.worker[1]), options.repetitions)
        return
    chosen = [
        name for name in CONTENDERS if any(part.lower() in name.lower() for part in options.only or [""])
    ]
    results, faults = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        contenders.make_repository(folder, options.model, options.image_size)
        contenders.make_photographs(folder, IMAGES)
        for name in chosen:
            start = time.perf_counter()
            results[name] = measure(CONTENDERS[name], folder, options, faults)
            contenders.write_table(*table(results), options.output)
            print(
                f"{name}: {results[name].get('fault', 'measured')} ({time.perf_counter() - start:.0f} s)",
                file=sys.stderr,
            )
    contenders.print_table(*table(results), options.output)
    print()
    contenders.print_table(
        *ratios(results), options.output and options.output.with_stem(f"{options.output.stem}_ratios")
    )


def measure(contender: Contender, folder, options, faults: dict) -> dict:
    """What a contender's process measured, or {"fault": ...}; `faults` keeps those of preparations."""
    for step in contender.prepared:
        if step not in faults:
            faults[step] = run(step, frameworks.PREPARATIONS[step][1], folder, options).get("fault")
        if faults[step]:
            return {"fault": f"{step}: {faults[step]}"}
    result = run(
        contender.worker, frameworks.FRAMEWORKS[contender.worker.partition("-")[0]].modules, folder, options
    )
    if "fault" not in result:
        result["logits"] = np.load(folder / f"{contender.worker}.npy")
        result["model"] = sum((folder / file).stat().st_size for file in contender.downloads) / 1e6
    return result


def run(worker, modules, folder, options) -> dict:
    python = contenders.find_python(modules, options.peer_python)
    if python is None:
        return {"fault": f"{' or '.join(modules)} is not installed"}
    arguments = ["--worker", worker, str(folder), "--repetitions", str(options.repetitions)]
    return contenders.run_worker(__file__, python, arguments, limit=300)


def table(results) -> tuple[list[str], list[list[str]]]:
    """The header, which begins with this machine's processor, and a row for each contender so far."""
    processor, features = contenders.processor()
    features = ", ".join(f"{'' if there else 'no '}{feature}" for feature, there in features.items())
    header = [
        f"{processor}, {os.cpu_count()} cores, {features}",
        "median ms",
        "p95 ms",
        f"{IMAGES} images/s",
        "batch",
        "peak MB",
        f"peak MB, {IMAGES} images",
        "first answer s",
        "model MB",
        "installed MB",
        "logits differ by",
    ]
    rows, reference = [], next((result["logits"] for result in results.values() if "logits" in result), None)
    for name, result in results.items():
        if "fault" in result:
            rows.append([name, result["fault"], *[""] * (len(header) - 2)])
            continue
        logits = result["logits"]
        expected = reference[: len(logits)]
        rows.append(
            [
                name,
                f"{np.median(result['milliseconds']):.1f}",
                f"{np.percentile(result['milliseconds'], 95):.1f}",
                f"{result['rate']:.1f}",
                str(result["batch"]),
                f"{result['peak']:.0f}",
                f"{result['peak_many']:.0f}",
                f"{result['first']:.1f}",
                f"{result['model']:.1f}",
                f"{result['installed']:.0f}",
                f"{np.abs(logits[: len(expected)] - expected).max() / np.abs(expected).max():.0e}",
            ]
        )
    return header, rows


def ratios(results) -> tuple[list[str], list[list[str]]]:
    """This project's time over that of the fastest other one at each precision, and of PyTorch at any."""
    header = [
        "this project against",
        "ms here",
        "fastest other",
        "ms",
        "time here / there",
        f"{IMAGES} images/s here",
        "fastest other",
        "images/s",
        "time here / there",
    ]
    done = {name: result for name, result in results.items() if "fault" not in result}
    ours = {name for name in done if name.startswith("this project")}
    pairs = {
        f"others in {precision}": ({n for n in done if n.endswith(precision)}, "") for precision in PRECISIONS
    }
    pairs["PyTorch, both at their fastest precision"] = (set(done), "PyTorch")
    rows = []
    for title, (names, prefix) in pairs.items():
        others = {name for name in names - ours if name.startswith(prefix)}
        if not names & ours or not others:
            continue
        row = [title]
        for key, unit in (("median", 1), ("rate", -1)):
            values = {
                n: float(np.median(done[n]["milliseconds"])) if key == "median" else done[n]["rate"]
                for n in names
            }
            here, there = (
                min(group, key=lambda name: unit * values[name]) for group in (names & ours, others)
            )
            row += [
                f"{values[here]:.1f}",
                there,
                f"{values[there]:.1f}",
                f"{(values[here] / values[there]) ** unit:.2f}",
            ]
        rows.append(row)
    return header, rows


def work(worker: str, folder: pathlib.Path, repetitions: int) -> None:
    """Measures one contender, or prepares a network for it, and prints the result as JSON."""
    config = ModelConfig.read(folder / "config.json")
    images = np.load(folder / "images.npy")
    if worker in frameworks.PREPARATIONS:
        frameworks.PREPARATIONS[worker][0](folder, config, images)
        print("{}")
        return
    kind, _, variant = worker.partition("-")
    one, many = frameworks.FRAMEWORKS[kind].make(folder, config, variant)
    one(images[0])
    started = float(os.environ["BENCHMARK_START"])
    first = time.time() - started
    timed(lambda: one(images[0]), 10, SECONDS / 4)
    seconds = timed(lambda: one(images[0]), repetitions, SECONDS)
    result = {
        "milliseconds": [1000 * value for value in seconds],
        "first": first,
        "peak": peak_megabytes(),
        "rate": 0,
    }
    affordable = max(1, SECONDS / np.median(seconds))
    for batch, classify in many.items():
        if batch > min(affordable, len(images)) or (batch > 1 and time.time() - started > LONG):
            break
        sample = images[: max(batch, int(affordable) // batch * batch)]
        classify(sample[:batch])  # to warm up
        start = time.perf_counter()
        logits = classify(sample)
        rate = len(sample) / (time.perf_counter() - start)
        if rate > result["rate"]:
            result |= {"rate": rate, "batch": batch, "peak_many": peak_megabytes()}
            np.save(folder / f"{worker}.npy", logits)
    sample = images[: len(np.load(folder / f"{worker}.npy"))]
    again = timed(lambda: many[result["batch"]](sample), 2, SECONDS)
    result["rate"] = float(np.median([result["rate"], *(len(sample) / seconds for seconds in again)]))
    print(
        json.dumps(
            result | {"installed": contenders.installed_megabytes(frameworks.FRAMEWORKS[kind].packages)}
        )
    )


def timed(call, most: int, limit: float) -> list[float]:
    """The seconds of each call: at least one call, at most `most`, none after `limit` seconds."""
    seconds = []
    while not seconds or (len(seconds) < most and sum(seconds) < limit):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
