"""What both benchmarks share: one network for every contender, each contender in a process of its own."""

import csv
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np

from resnext.architecture import find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.network_shapes import network_tensors
from resnext.weights import save_tensors


def make_repository(folder: pathlib.Path, name: str, image_size: int, classes: int = 1000) -> None:
    """A model repository of random weights, which this project and timm open alike."""
    architecture, rng = find_architecture(name), np.random.default_rng(0)
    config = ModelConfig(name, architecture, tuple(map(str, range(classes))), Preprocessing(image_size))
    tensors = {}
    for key, shape in network_tensors(architecture, classes).items():
        if len(shape) == 1:
            value = np.full(shape, 0.0 if key.endswith(("bias", "mean")) else 1.0)
        else:
            value = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        if "bn3.weight" in key:
            value *= 0.2  # as in a trained network, no unit drowns the others
        tensors[key] = value.astype(np.float32)
    config.write(folder / "config.json")
    save_tensors(tensors, folder / "model.safetensors")


def stock_keras_model(config: ModelConfig):
    """The same network with Keras' own grouped convolution."""
    import keras

    from resnext.architecture import resnext
    from resnext.keras_model import KerasOps

    class StockOps(KerasOps):
        def conv(self, x, filters, kernel, stride=1, groups=1, bias=False, *, name):
            if kernel > 1:
                x = keras.layers.ZeroPadding2D(kernel // 2)(x)
            return keras.layers.Conv2D(filters, kernel, stride, groups=groups, use_bias=bias, name=name)(x)

    images = keras.Input((None, None, 3), name="images")
    ops = StockOps(config.preprocessing.mean, config.preprocessing.std)
    return keras.Model(images, resnext(ops, config.architecture, config.num_classes, images)["logits"])


def timm_model(folder: pathlib.Path):
    """timm's network on PyTorch with the same weights."""
    import types

    if importlib.util.find_spec("torchvision"):
        # A torchvision without compiled operations cannot register them; timm does not need them.
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    import timm

    return timm.create_model(f"local-dir:{folder}", pretrained=True)


def find_python(modules: tuple[str, ...], peer_python: str | None) -> str | None:
    """An interpreter that has these modules: this one, or the one for peers."""
    for python in filter(None, (sys.executable, peer_python)):
        code = f"import importlib.util as u; raise SystemExit(not all(map(u.find_spec, {modules!r})))"
        if subprocess.run([python, "-c", code], capture_output=True).returncode == 0:
            return python
    return None


def run_worker(script: str, python: str, arguments: list[str], limit: float, environment: dict[str, str] | None = None) -> dict:
    """Runs one contender and returns what it measured; {"fault": ...} if it failed or took longer than `limit` seconds."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {}), "BENCHMARK_START": repr(time.time())}
    try:
        done = subprocess.run([python, script, *arguments], env=env, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"fault": f"more than {limit:.0f} s"}
    if done.returncode:
        return {"fault": done.stderr.strip().splitlines()[-1][:90] if done.stderr.strip() else f"status {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def print_table(header: list[str], rows: list[list[str]], output: pathlib.Path | None) -> None:
    """Prints the table and writes it as CSV."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        print("  ".join(cell.rjust(w) if column else cell.ljust(w) for column, (cell, w) in enumerate(zip(row, widths))))
    if output:
        with output.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
