"""Training steps on a CPU: this project against timm on PyTorch, and against stock Keras.

    python tests/benchmarks/train.py --peer-python OTHER_ENVIRONMENT/bin/python

A step is the one of `training fit` with the recipe `scratch` without its augmentation: forward pass,
cross-entropy with label smoothing, backward pass, and SGD with Nesterov momentum and weight decay; for this
project as `keras.Model.fit` runs it, normalization of the pixels included. PyTorch gets normalized pixels,
channels_last, its fused SGD, and autocast for bfloat16. Every contender of a case is a process of its own
with all cores. They take turns, so that what else the machine does meets all of them. Where it does much
else, the CPU seconds of a step say more than its duration, with OMP_WAIT_POLICY=passive in the environment:
the threads of PyTorch otherwise compute while they wait for each other.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time

import contenders
import numpy as np

from resnext.config import ModelConfig

TENSORFLOW = ("tensorflow",)
PYTORCH = ("timm", "torch")


@dataclasses.dataclass(frozen=True)
class Contender:
    """How a contender is run: its worker, the modules that it needs, and environment variables."""

    worker: str
    modules: tuple[str, ...]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


CONTENDERS = {
    "this project": Contender("here", TENSORFLOW),
    "timm on PyTorch": Contender("torch", PYTORCH),
    "timm on PyTorch, torch.compile": Contender("torch_compile", PYTORCH),
    "this project, oneDNN off": Contender("here", TENSORFLOW, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "stock Keras": Contender("keras", TENSORFLOW),
}
PEERS = tuple(CONTENDERS)[:3]


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained."""

    model: str
    image_size: int
    batch_size: int
    precision: str
    contenders: tuple[str, ...] = PEERS

    def __str__(self):
        return f"{self.model}, {self.image_size} pixels, batch of {self.batch_size}, {self.precision}"


CASES = (
    Case("resnext50_32x4d", 224, 16, "float32"),
    Case("resnext50_32x4d", 224, 16, "bfloat16"),
    Case("resnext26_small", 112, 64, "float32"),
    Case("resnext26_small", 112, 64, "bfloat16"),
    Case("resnext26_small", 64, 64, "float32"),
    Case("resnext26_small", 64, 64, "bfloat16"),
    # Stock Keras takes minutes for a step of 16.
    Case("resnext50_32x4d", 224, 4, "float32", tuple(CONTENDERS)),
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = [str(number) for number in range(len(CASES))]
    parser.add_argument(
        "--cases",
        nargs="+",
        type=int,
        choices=range(len(CASES)),
        default=range(len(CASES)),
        help="; ".join(f"{number}: {case}" for number, case in zip(numbers, CASES)),
        metavar="NUMBER",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of each contender (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=3, help="length of a turn, at least a step (default: %(default)s)"
    )
    parser.add_argument(
        "--limit", type=float, default=300, help="seconds until the first step is done (default: %(default)s)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, metavar="NAME", default=CONTENDERS, help="these contenders"
    )
    parser.add_argument("--peer-python", help="interpreter for contenders that this one lacks")
    parser.add_argument("--output", type=pathlib.Path, help="CSV file for the table")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(*options.worker)
        return
    rows = []
    for case in (CASES[number] for number in options.cases):
        print(f"\n{case}")
        results = measure(case, options)
        rows += report(case, results)
        contenders.write_table([*CASE_COLUMNS, *COLUMNS], rows, options.output)


def measure(case: Case, options: argparse.Namespace) -> dict[str, dict]:
    """What each contender measured, by its name, or {"fault": ...}."""
    results, runners = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        contenders.make_repository(pathlib.Path(folder), case.model, case.image_size)
        names = [name for name in case.contenders if name in options.only]
        for name in names:
            contender = CONTENDERS[name]
            python = contenders.find_python(contender.modules, options.peer_python)
            if not python:
                results[name] = {"fault": "not installed"}
                continue
            runners[name] = Runner(python, contender, folder, case, options)
        for _ in range(options.rounds):
            for runner in runners.values():
                runner.turn()
        results |= {name: runner.finish() for name, runner in runners.items()}
    return {name: results[name] for name in names}


class Runner:
    """A contender in a process of its own, which waits until it is its turn.

    Args:
        python: The interpreter.
        contender: The contender.
        folder: The model repository.
        case: What is trained.
        options: The options of the command line.
    """

    def __init__(
        self, python: str, contender: Contender, folder: str, case: Case, options: argparse.Namespace
    ):
        arguments = [contender.worker, folder, str(case.batch_size), case.precision, str(options.seconds)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, __file__, "--worker", *arguments],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **contender.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.result = {"seconds": [], "cpu": []}
        timer = threading.Timer(options.limit, self.process.kill)
        timer.start()
        self.result |= self._read() or {"fault": f"more than {options.limit:.0f} s" * (not timer.is_alive())}
        timer.cancel()

    def turn(self) -> None:
        """Lets it train for some seconds."""
        if "fault" not in self.result:
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            answer = self._read()
            for key in ("seconds", "cpu"):
                self.result[key] += answer.pop(key, [])
            self.result |= answer or {"fault": ""}

    def finish(self) -> dict:
        """Ends the process. Returns its durations, peak memory and first loss, or its fault."""
        self.process.communicate()
        if self.result.get("fault") == "":
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or [f"status {self.process.returncode}"]
            self.result["fault"] = lines[-1][:90]
        self.errors.close()
        return self.result

    def _read(self) -> dict:
        # What a library prints is not an answer.
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {}


CASE_COLUMNS = ["model", "pixels", "batch size", "precision"]
COLUMNS = [
    "one step",
    "median s",
    "fastest s",
    "CPU s",
    "steps",
    "images/s",
    "x here",
    "peak MB",
    "first loss",
]


def report(case: Case, results: dict[str, dict]) -> list[list[str]]:
    """Prints the table of a case. Returns its rows for the CSV file."""
    medians = {
        name: float(np.median(result["seconds"])) for name, result in results.items() if "fault" not in result
    }
    here, rows = medians.get("this project", float("nan")), []
    for name, result in results.items():
        if name not in medians:
            rows.append([name, result["fault"], *[""] * 7])
            continue
        median = medians[name]
        durations = [median, min(result["seconds"]), float(np.median(result["cpu"]))]
        ratios = [f"{case.batch_size / median:.1f}", f"{median / here:.2f}"]
        ends = [f"{result['peak']:.0f}", f"{result['loss']:.4f}"]
        rows.append([name, *(f"{value:.3f}" for value in durations), str(len(result["cpu"])), *ratios, *ends])
    contenders.print_table(COLUMNS, rows, None)
    peers = [median for name, median in medians.items() if "timm" in name]
    if peers:
        print(f"{min(peers) / here:.2f} times the rate of the best of timm")
    named = [case.model, str(case.image_size), str(case.batch_size), case.precision]
    return [named + row for row in rows]


def work(worker: str, folder: str, batch_size: str, precision: str, seconds: str) -> None:
    """Trains for some seconds whenever a line arrives, and prints the duration of each step as JSON."""
    config = ModelConfig.read(pathlib.Path(folder) / "config.json")
    size, rng = config.preprocessing.image_size, np.random.default_rng(1)
    images = rng.integers(0, 256, (int(batch_size), size, size, 3)).astype(np.uint8)
    labels = rng.integers(0, config.num_classes, int(batch_size))
    make = torch_step if worker.startswith("torch") else keras_step
    step = make(worker, pathlib.Path(folder), config, images, labels, precision)
    loss = step()
    step()  # Some are slow the second time, too.
    print(json.dumps({"loss": loss}), flush=True)
    for _ in sys.stdin:
        durations, cpu = [], []
        while sum(durations) < float(seconds):
            began, cpu_began = time.perf_counter(), time.process_time()
            step()
            durations.append(time.perf_counter() - began)
            cpu.append(time.process_time() - cpu_began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": durations, "cpu": cpu, "peak": peak}), flush=True)


def make_recipe(precision: str):
    """The recipe `scratch` without augmentation."""
    from training.recipe import RECIPES

    off = dict.fromkeys(("zoom", "rotation", "jitter", "mixup", "cutmix"), 0.0)
    return dataclasses.replace(RECIPES["scratch"], flip=False, learning_rate=1e-3, precision=precision, **off)


def keras_step(worker, folder, config, images, labels, precision):
    """Returns a function that runs a step as `keras.Model.fit` does, and returns the loss."""
    import keras
    import tensorflow as tf

    from resnext.keras_model import build_model, dtype_policy
    from resnext.weights import load_into_keras, read_tensors
    from training.augmentation import draw
    from training.devices import find_policy
    from training.optimizer import make_optimizer
    from training.trainer import TrainingModel

    recipe = dataclasses.replace(make_recipe(precision), train_size=images.shape[1])
    keras.utils.set_random_seed(recipe.seed)
    with dtype_policy(find_policy(precision)):
        if worker == "here":
            network = build_model(
                config.architecture, label_names=config.label_names, preprocessing=config.preprocessing
            )
        else:
            network = contenders.stock_keras_model(config)
            network.resnext_config = config
        load_into_keras(network, read_tensors(folder / "model.safetensors"))
        model = TrainingModel.wrap(network, recipe, [])
        model.compile_for_training(make_optimizer(recipe, 1000, config.architecture.classifier))
    draws = draw(recipe, tf.constant(0), len(images))
    batch = (images, keras.utils.to_categorical(labels, config.num_classes), draws)
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()
    return lambda: float(model.train_function(batches)["loss"])


def torch_step(worker, folder, config, images, labels, precision):
    """Returns a function that runs a step, and returns the loss."""
    import torch

    torch.set_num_threads(os.cpu_count())
    recipe = make_recipe(precision)
    model = contenders.timm_model(folder).train().to(memory_format=torch.channels_last)
    mean, std = (
        np.array(values, np.float32) for values in (config.preprocessing.mean, config.preprocessing.std)
    )
    inputs = torch.from_numpy(((images / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2))
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    targets = torch.from_numpy(labels)
    decayed = collections.defaultdict(list)
    for parameter in model.parameters():
        decayed[parameter.ndim > 1].append(parameter)
    groups = [
        {"params": parameters, "weight_decay": recipe.weight_decay * is_decayed}
        for is_decayed, parameters in decayed.items()
    ]
    optimizer = torch.optim.SGD(groups, recipe.learning_rate, momentum=0.9, nesterov=True, fused=True)
    network = torch.compile(model) if worker == "torch_compile" else model

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(inputs)
        loss = torch.nn.functional.cross_entropy(
            logits.float(), targets, label_smoothing=recipe.label_smoothing
        )
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


if __name__ == "__main__":
    main()
