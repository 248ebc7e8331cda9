"""Training steps on a GPU: this project on each Keras backend against timm on PyTorch.

    python tests/benchmarks/gpu.py --peer-python OTHER_ENVIRONMENT/bin/python

Synthetic images, 10 steps to warm up and 50 that are measured, in bfloat16 (Keras' mixed policy, PyTorch's
autocast) with SGD with momentum. Every contender is a process of its own, one after another; one whose
packages are not installed, or that finds no GPU, is listed with the reason. `--toy` runs the same code on a
processor in a small size, to see that it works; its numbers mean nothing.

The grouped convolutions: `native` is what this project does, `stock` is Keras' own layer, and
`block-diagonal` is a few dense convolutions, as this project does where there is no native gradient.
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

TOY = {"batch_size": 4, "image_size": 32, "steps": 2, "warmup": 1}
# By name: the framework, its strategy, and the modules that it needs.
CONTENDERS = {
    f"this project on {backend}, {convolution}": (backend, convolution, ("keras", backend))
    for backend, convolutions in {
        "tensorflow": ("native", "block-diagonal", "stock"),
        "jax": ("native",),
        "torch": ("native",),
    }.items()
    for convolution in convolutions
} | {
    f"timm, {memory_format}, {mode}": ("timm", f"{memory_format} {mode}", ("timm", "torch"))
    for memory_format in ("contiguous", "channels_last")
    for mode in ("eager", "compiled")
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnext50_32x4d", help="architecture (default: %(default)s)")
    numbers = {
        "image_size": (224, "height and width in pixels"),
        "batch_size": (256, "images in a step"),
        "steps": (50, "steps measured"),
        "warmup": (10, "steps before"),
        "limit": (600, "seconds for a contender in total"),
    }
    for name, (default, text) in numbers.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=default, help=f"{text} (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, metavar="NAME", default=list(CONTENDERS))
    parser.add_argument("--toy", action="store_true", help="a small size, on a processor")
    parser.add_argument("--peer-python", help="interpreter for contenders that this one lacks")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.toy:
        parser.set_defaults(**TOY)
        options = parser.parse_args()
    if options.worker:
        work(*options.worker, options)
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        contenders.make_repository(pathlib.Path(folder), options.model, options.image_size)
        for name in options.only:
            results[name] = run(name, folder, options)
            print(name, results[name], flush=True)  # Nothing is lost if a later one ends the run.
            write_report(results, options)
    contenders.print_table(COLUMNS, table(results, options.batch_size), options.output)


def run(name: str, folder: str, options: argparse.Namespace) -> dict:
    """What a contender measured, or {"fault": ...}."""
    framework, strategy, modules = CONTENDERS[name]
    python = contenders.find_python(modules, options.peer_python)
    if not python:
        return {"fault": f"not installed: {' or '.join(modules)}"}
    arguments = ["--toy"] * options.toy
    for option in ("image_size", "batch_size", "steps", "warmup"):
        arguments += [f"--{option.replace('_', '-')}", str(getattr(options, option))]
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if framework != "timm":
        environment["KERAS_BACKEND"] = framework
    arguments += ["--worker", framework, strategy, folder]
    return contenders.run_worker(__file__, python, arguments, options.limit, environment)


COLUMNS = ["one step", "median ms", "images/s", "of timm's best", "peak MB", "first loss", "device"]


def table(results: dict[str, dict], batch_size: int) -> list[list[str]]:
    """The rows of the table."""
    rates = {
        name: batch_size / float(np.median(result["seconds"]))
        for name, result in results.items()
        if "fault" not in result
    }
    best = max((rate for name, rate in rates.items() if name.startswith("timm")), default=float("nan"))
    rows = []
    for name, result in results.items():
        if name not in rates:
            rows.append([name, result["fault"], *[""] * 5])
            continue
        rate = rates[name]
        numbers = f"{1000 * batch_size / rate:.1f} {rate:.1f} {rate / best:.2f} {result['peak']:.0f}"
        rows.append([name, *numbers.split(), f"{result['loss']:.4f}", result["device"]])
    return rows


def write_report(results: dict[str, dict], options: argparse.Namespace) -> None:
    contenders.write_table(COLUMNS, table(results, options.batch_size), options.output)


def work(framework: str, strategy: str, folder: str, options: argparse.Namespace) -> None:
    """Measures one contender and prints it as JSON."""
    config = ModelConfig.read(pathlib.Path(folder) / "config.json")
    size, rng = options.image_size, np.random.default_rng(1)
    images = rng.integers(0, 256, (options.batch_size, size, size, 3)).astype(np.float32)
    labels = rng.integers(0, config.num_classes, options.batch_size)
    make = timm_steps if framework == "timm" else keras_steps
    device, step, peak = make(strategy, pathlib.Path(folder), config, images, labels, options.toy)
    loss, seconds = step(), []
    for index in range(options.warmup + options.steps):
        began = time.perf_counter()
        step()
        if index >= options.warmup:
            seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds, "peak": peak(), "loss": loss, "device": device}))


def keras_steps(strategy, folder, config, images, labels, toy):
    """Returns the device, a function that runs a step and returns the loss, and one for the peak memory."""
    import keras

    from resnext.keras_model import build_model, dtype_policy
    from resnext.weights import load_into_keras, read_tensors

    backend = keras.backend.backend()
    device, peak = DEVICES[backend](toy)
    keras.utils.set_random_seed(0)
    with dtype_policy("mixed_bfloat16"):
        if strategy == "stock":
            model = contenders.stock_keras_model(config)
        else:
            model = build_model(
                config.architecture, label_names=config.label_names, preprocessing=config.preprocessing
            )
    if strategy == "block-diagonal":
        from resnext import grouped_conv

        grouped_conv.has_native_gradient = lambda dtype: False
    load_into_keras(model, read_tensors(folder / "model.safetensors"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # XLA would compile TensorFlow's step anew, and cannot compile all that this project trains with.
    compiled = backend == "jax"
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), loss, jit_compile=compiled)
    batch = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels)
    return device, lambda: float(model.train_on_batch(*batch)), peak


def timm_steps(strategy, folder, config, images, labels, toy):
    """As `keras_steps`, for timm's network."""
    import torch

    device, peak = torch_device(toy)
    kind = device if device == "cpu" else "cuda"
    layout, mode = strategy.split()
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = contenders.timm_model(folder).train().to(kind, memory_format=memory_format)
    mean, std = (
        np.array(values, np.float32) for values in (config.preprocessing.mean, config.preprocessing.std)
    )
    inputs = torch.from_numpy(((images / 255 - mean) / std).transpose(0, 3, 1, 2))
    inputs = inputs.to(kind).contiguous(memory_format=memory_format)
    targets = torch.from_numpy(labels).to(kind)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, fused=True)
    torch.backends.cudnn.benchmark = True
    network = torch.compile(model) if mode == "compiled" else model

    def step():
        optimizer.zero_grad()
        with torch.autocast(kind, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        return float(loss)  # waits for the GPU

    return device, step, peak


def tensorflow_device(toy):
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu", processor(toy)
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return name, lambda: tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20


def jax_device(toy):
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return "cpu", processor(toy)
    return device.device_kind, lambda: device.memory_stats()["peak_bytes_in_use"] / 2**20


def torch_device(toy):
    import torch

    if not torch.cuda.is_available():
        return "cpu", processor(toy)
    return torch.cuda.get_device_name(), lambda: torch.cuda.max_memory_allocated() / 2**20


# Of each Keras backend: a function that returns the name of the device and a function for its peak memory.
DEVICES = {"tensorflow": tensorflow_device, "jax": jax_device, "torch": torch_device}


def processor(toy: bool):
    """The peak memory of this process, where a processor is wanted."""
    if not toy:
        raise SystemExit("no GPU found: give --toy to try it on the processor")
    return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if os.environ.get("KERAS_BACKEND") == "torch":
        contenders.import_timm()  # Keras imports torchvision, which may lack its compiled operations.
    main()
