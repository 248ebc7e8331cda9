"""What the benchmarks share: one network and the same photographs for all contenders, and their processes."""

import csv
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np

from resnext.architecture import find_architecture
from resnext.config import ModelConfig, Preprocessing
from resnext.shapes import tensor_shapes
from resnext.weights import save_tensors


def make_repository(folder: pathlib.Path, name: str, image_size: int, classes: int = 1000) -> None:
    """Writes a model repository of random weights, which both this project and timm can open."""
    architecture, rng = find_architecture(name), np.random.default_rng(0)
    config = ModelConfig(name, architecture, tuple(map(str, range(classes))), Preprocessing(image_size))
    tensors = {}
    for key, shape in tensor_shapes(architecture, classes).items():
        if len(shape) == 1:
            value = np.full(shape, 0.0 if key.endswith(("bias", "mean")) else 1.0)
        else:
            value = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        if "bn3.weight" in key:
            value *= 0.2  # As in a trained network, no unit dominates the others.
        tensors[key] = value.astype(np.float32)
    config.write(folder / "config.json")
    save_tensors(tensors, folder / "model.safetensors")


def make_photographs(folder: pathlib.Path, count: int) -> None:
    """Adds random crops of the bundled photographs to a repository.

    Writes image files into data/train and two of them into data/test, each with two class folders. Writes
    images.npy: data/train as the network sees it, (count, image_size, image_size, 3) uint8 RGB.
    """
    # Imported here, since the time to the first output of a contender is measured.
    from PIL import Image

    from resnext.preprocessing import preprocess

    prep, rng, images = ModelConfig.read(folder / "config.json").preprocessing, np.random.default_rng(1), []
    sources = sorted((ROOT / "resnext" / "flowers" / "examples").glob("*.jpg"))
    for index in range(count):
        with Image.open(sources[index % len(sources)]) as image:
            side = min(image.size) * rng.uniform(0.5, 1)
            left, top = (rng.uniform(0, length - side) for length in image.size)
            crop = image.convert("RGB").resize(
                (prep.resize_to, prep.resize_to), box=(left, top, left + side, top + side)
            )
        images.append(preprocess(crop, prep))
        for split in ("train", "test")[: 2 if index < 2 else 1]:
            file = folder / "data" / split / str(index % 2) / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            crop.save(file)
    np.save(folder / "images.npy", np.stack(images))


def stock_keras_model(config: ModelConfig):
    """The same network with Keras' own grouped convolution."""
    import keras

    from resnext.architecture import build_network
    from resnext.keras_model import KerasOps

    class StockOps(KerasOps):
        def conv(self, x, filters, kernel, stride=1, groups=1, bias=False, *, name):
            if kernel > 1:
                x = keras.layers.ZeroPadding2D(kernel // 2)(x)
            return keras.layers.Conv2D(filters, kernel, stride, groups=groups, use_bias=bias, name=name)(x)

    images = keras.Input((None, None, 3), name="images")
    ops = StockOps(config.preprocessing.mean, config.preprocessing.std)
    return keras.Model(images, build_network(ops, config.architecture, config.num_classes, images)["logits"])


def import_timm():
    """Imports timm, also where torchvision lacks its compiled operations, which timm does not need."""
    import types

    if importlib.util.find_spec("torchvision"):
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    import timm

    return timm


def timm_model(folder: pathlib.Path):
    """timm's network on PyTorch with the same weights."""
    timm = import_timm()
    return timm.create_model(f"local-dir:{folder}", pretrained=True)


def find_python(modules: tuple[str, ...], peer_python: str | None) -> str | None:
    """An interpreter that has these modules: this one, the one for peers, or None."""
    for python in filter(None, (sys.executable, peer_python)):
        code = f"import importlib.util as u; raise SystemExit(not all(map(u.find_spec, {modules!r})))"
        if subprocess.run([python, "-c", code], capture_output=True).returncode == 0:
            return python
    return None


def run_worker(
    script: str, python: str, arguments: list[str], limit: float, environment: dict[str, str] | None = None
) -> dict:
    """Runs one contender; returns what it measured, or {"fault": ...} if it failed or took too long."""
    env = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **(environment or {}),
        "BENCHMARK_START": repr(time.time()),
    }
    try:
        done = subprocess.run(
            [python, script, *arguments], env=env, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"fault": f"more than {limit:.0f} s"}
    if done.returncode:
        return {
            "fault": done.stderr.strip().splitlines()[-1][:90]
            if done.stderr.strip()
            else f"status {done.returncode}"
        }
    return json.loads(done.stdout.splitlines()[-1])


def processor() -> tuple[str, dict[str, bool]]:
    """The name of this machine's processor, and which instructions it has (known on Linux only)."""
    information = pathlib.Path("/proc/cpuinfo")
    lines = (
        dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
        if information.is_file()
        else {}
    )
    lines = {key.strip(): value.strip() for key, value in lines.items()}
    flags = set(lines.get("flags", "").split())
    features = {
        "AVX-512": {"avx512f"},
        "VNNI": {"avx512_vnni", "avx_vnni"},
        "bfloat16": {"avx512_bf16", "amx_bf16"},
        "AMX": {"amx_tile"},
    }
    return lines.get("model name", platform.processor()), {
        name: bool(flags & any_of) for name, any_of in features.items()
    }


def installed_megabytes(packages: tuple[str, ...]) -> float:
    """Size on disk, without bytecode, of packages and of all their installed requirements."""
    waiting, sizes = list(packages), {}
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in sizes:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # for another platform
            continue
        sizes[name] = sum(file.size or 0 for file in distribution.files or ())
        waiting += [
            re.match(r"[\w.-]+", line)[0] for line in distribution.requires or () if "extra ==" not in line
        ]
    return sum(sizes.values()) / 1e6


def print_table(header: list[str], rows: list[list[str]], output: pathlib.Path | None) -> None:
    """Prints the table and writes it as CSV."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        print(
            "  ".join(
                cell.rjust(w) if column else cell.ljust(w)
                for column, (cell, w) in enumerate(zip(row, widths))
            )
        )
    write_table(header, rows, output)


def write_table(header: list[str], rows: list[list[str]], output: pathlib.Path | None) -> None:
    """Writes the table as CSV, if there is an output."""
    if output:
        with output.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *rows])
