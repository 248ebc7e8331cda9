"""One training step of ResNeXt on a CPU: this project against stock Keras and timm on PyTorch.

    python tests/benchmarks/train.py --peer-python OTHER_ENVIRONMENT/bin/python

A step is forward, cross-entropy, backward and SGD with momentum on one batch, in float32. Every contender
runs in a process of its own, one after another. Stock Keras has its own grouped convolution.
"""

import argparse
import json
import pathlib
import resource
import tempfile
import time

import contenders
import numpy as np

from resnext.config import ModelConfig

# By name: the worker, the modules that it needs, and environment variables.
CONTENDERS = {
    "this project": ("here", ("tensorflow",), {}),
    "this project, oneDNN off": ("here", ("tensorflow",), {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "stock Keras": ("keras", ("tensorflow",), {}),
    "timm on PyTorch": ("torch", ("timm", "torch"), {}),
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnext50_32x4d", help="architecture (default: %(default)s)")
    parser.add_argument(
        "--image-size", type=int, default=224, help="height and width in pixels (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=int, default=16, help="images in a step (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=5, help="steps measured, after one to warm up (default: %(default)s)"
    )
    parser.add_argument(
        "--limit", type=float, default=600, help="seconds for a contender in total (default: %(default)s)"
    )
    parser.add_argument("--peer-python", help="interpreter for contenders that this one lacks")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(
            options.worker[0],
            pathlib.Path(options.worker[1]),
            options.batch_size,
            options.steps,
            options.limit,
        )
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        contenders.make_repository(pathlib.Path(folder), options.model, options.image_size)
        for name, (worker, modules, environment) in CONTENDERS.items():
            python = contenders.find_python(modules, options.peer_python)
            arguments = ["--worker", worker, folder]
            for option in ("batch_size", "steps", "limit"):
                arguments += [f"--{option.replace('_', '-')}", str(getattr(options, option))]
            results[name] = (
                contenders.run_worker(__file__, python, arguments, options.limit, environment)
                if python
                else {"fault": "not installed"}
            )
    report(results, options.batch_size, options.output)


def report(results, batch_size, output):
    rows, reference = [], results["this project"]
    for name, result in results.items():
        if "fault" in result:
            rows.append([name, result["fault"], *[""] * 5])
            continue
        median = float(np.median(result["seconds"]))
        ratio = median / np.median(reference["seconds"]) if "seconds" in reference else float("nan")
        rows.append(
            [
                name,
                f"{median:.2f}",
                str(len(result["seconds"])),
                f"{batch_size / median:.2f}",
                f"{ratio:.2f}",
                f"{result['peak']:.0f}",
                f"{result['loss']:.4f}",
            ]
        )
    header = ["one step", "median s", "steps", "images/s", "x here", "peak MB", "first loss"]
    contenders.print_table(header, rows, output)


def work(worker: str, folder: pathlib.Path, batch_size: int, steps: int, limit: float) -> None:
    """Measures one contender and prints it as JSON; stops early when half of the time is used up."""
    config, start = ModelConfig.read(folder / "config.json"), time.perf_counter()
    size, rng = config.preprocessing.image_size, np.random.default_rng(1)
    images = rng.integers(0, 256, (batch_size, size, size, 3)).astype(np.float32)
    labels = rng.integers(0, config.num_classes, batch_size)
    step = (
        torch_step(folder, config, images, labels)
        if worker == "torch"
        else keras_step(worker, folder, config, images, labels)
    )
    loss, seconds = step(), []
    while len(seconds) < steps and (not seconds or time.perf_counter() - start < limit / 2):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "loss": loss}))


def keras_step(worker, folder, config, images, labels):
    import keras

    from resnext.pretrained import from_pretrained
    from resnext.weights import load_into_keras, read_tensors

    if worker == "here":
        model = from_pretrained(folder)
    else:
        model = contenders.stock_keras_model(config)
        load_into_keras(model, read_tensors(folder / "model.safetensors"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss)
    return lambda: float(model.train_on_batch(images, labels))


def torch_step(folder, config, images, labels):
    import torch

    model = contenders.timm_model(folder).train()
    mean, std = (
        np.array(values, np.float32) for values in (config.preprocessing.mean, config.preprocessing.std)
    )
    inputs = torch.from_numpy(np.ascontiguousarray(((images / 255 - mean) / std).transpose(0, 3, 1, 2)))
    targets = torch.from_numpy(labels)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


if __name__ == "__main__":
    main()
