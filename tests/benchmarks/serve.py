"""One image through ResNeXt on a CPU: this project against Keras as it ships, ONNX Runtime, and timm on PyTorch.

    python tests/benchmarks/serve.py --peer-python OTHER_ENVIRONMENT/bin/python

Every contender has the same random weights and runs in a process of its own, one after another; they have to agree
on the logits. The time is the network's alone, from uint8 pixels (normalised by each as it usually is) to logits.
"""

import argparse
import json
import os
import pathlib
import resource
import tempfile
import time

import contenders
import numpy as np

from resnext.config import ModelConfig
from resnext.weights import load_into_keras, read_tensors

CONTENDERS = {  # name -> (worker, modules that it needs)
    "this project, float32": ("openvino-float32", ("openvino",)),
    "this project, default": ("openvino-auto", ("openvino",)),
    "Keras as it ships": ("keras", ("tensorflow",)),
    "ONNX Runtime": ("onnxruntime", ("onnxruntime",)),
    "timm on PyTorch": ("torch-float32", ("timm", "torch")),
    "timm on PyTorch, channels_last": ("torch-channels_last", ("timm", "torch")),
    "timm on PyTorch, bfloat16": ("torch-bfloat16", ("timm", "torch")),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnext50_32x4d", help="architecture (default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=224, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=100, help="images, after 10 to warm up (default: %(default)s)")
    parser.add_argument("--peer-python", help="interpreter for contenders that this one lacks")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker[0], pathlib.Path(options.worker[1]), options.repetitions)
        return
    with tempfile.TemporaryDirectory() as folder:
        contenders.make_repository(pathlib.Path(folder), options.model, options.image_size)
        exporter = contenders.find_python(("timm", "torch", "onnx"), options.peer_python)
        if exporter:
            measure("export", exporter, folder, options.repetitions)
        results = {}
        for name, (worker, modules) in CONTENDERS.items():
            python = contenders.find_python(modules, options.peer_python)
            results[name] = measure(worker, python, folder, options.repetitions) if python else {"fault": "not installed"}
    report(results, options.output)


def measure(worker, python, folder, repetitions) -> dict:
    arguments = ["--worker", worker, folder, "--repetitions", str(repetitions)]
    return contenders.run_worker(__file__, python, arguments, limit=600)


def report(results, output):
    reference = results["this project, float32"]
    rows = []
    for name, result in results.items():
        if "fault" in result:
            rows.append([name, result["fault"], *[""] * 6])
            continue
        ms, expected = result["milliseconds"], np.array(reference["logits"])
        median = float(np.median(ms))
        rows.append([
            name,
            f"{median:.1f}",
            f"{np.percentile(ms, 95):.1f}",
            f"{1000 / median:.1f}",
            f"{median / np.median(reference['milliseconds']):.2f}",
            f"{result['first']:.1f}",
            f"{result['peak']:.0f}",
            f"{np.abs(np.array(result['logits']) - expected).max() / np.abs(expected).max():.0e}",
        ])  # fmt: skip
    header = ["one image", "median ms", "p95 ms", "images/s", "x float32 here", "first answer s", "peak MB", "logits differ by"]
    contenders.print_table(header, rows, output)


def work(worker: str, folder: pathlib.Path, repetitions: int) -> None:
    """Measures one contender and prints it as JSON."""
    config = ModelConfig.read(folder / "config.json")
    size = config.preprocessing.image_size
    pixels = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    if worker == "export":
        import torch

        network = contenders.timm_model(folder).eval()
        torch.onnx.export(network, torch.zeros(1, 3, size, size), str(folder / "model.onnx"), dynamo=False)
        print("{}")
        return
    make = {"openvino": openvino_contender, "keras": keras_contender, "onnxruntime": onnx_contender, "torch": torch_contender}
    kind, _, variant = worker.partition("-")
    classify = make[kind](folder, config, variant)
    logits = classify(pixels)
    first = time.time() - float(os.environ["BENCHMARK_START"])
    milliseconds = []
    for _ in range(10 + repetitions):
        start = time.perf_counter()
        classify(pixels)
        milliseconds.append(1000 * (time.perf_counter() - start))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"milliseconds": milliseconds[10:], "first": first, "peak": peak, "logits": np.ravel(logits).tolist()}
    print(json.dumps(result))


def openvino_contender(folder, config, precision):
    from resnext.classifier import Classifier

    classifier = Classifier.from_pretrained(folder, precision=precision)
    return lambda pixels: classifier.run(pixels).logits


def keras_contender(folder, config, variant):
    import tensorflow as tf

    model = contenders.stock_keras_model(config)
    load_into_keras(model, read_tensors(folder / "model.safetensors"))
    call = tf.function(lambda images: model(images, training=False))  # faster than model.predict for one image
    return lambda pixels: call(tf.constant(pixels[None], tf.float32)).numpy()


def onnx_contender(folder, config, variant):
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: normalized(pixels, config)})[0]


def torch_contender(folder, config, variant):
    import torch

    model = contenders.timm_model(folder).eval()
    memory_format = torch.channels_last if variant == "channels_last" else torch.contiguous_format
    model = model.to(memory_format=memory_format)

    def classify(pixels):
        images = torch.from_numpy(normalized(pixels, config)).contiguous(memory_format=memory_format)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=variant == "bfloat16"):
            return model(images).float().numpy()

    return classify


def normalized(pixels, config) -> np.ndarray:
    """(1, 3, height, width) float32, as PyTorch's transforms make it."""
    mean, std = (np.array(values, np.float32) for values in (config.preprocessing.mean, config.preprocessing.std))
    return np.ascontiguousarray(((pixels / np.float32(255) - mean) / std).transpose(2, 0, 1)[None])


if __name__ == "__main__":
    main()
