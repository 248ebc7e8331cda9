"""`quantize`: makes an int8 graph for OpenVINO, and measures what it costs in accuracy."""

import contextlib
import importlib.metadata
import io
import itertools
import json
import logging
import math
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from resnext.atomic import replacing, write_atomically
from resnext.card import SPLIT_NAMES
from resnext.classifier import Classifier
from resnext.command import require
from resnext.config import ModelConfig
from resnext.errors import DataError, RepositoryError, WeightsError
from resnext.int8 import GRAPH, NOTES, WEIGHTS
from resnext.metrics import scores
from resnext.preprocessing import load_pixels
from resnext.repository import NEEDED, Repository, copy_files, load_config, load_tensors, weights_digest

from .data import ImageFolders
from .evaluate import compute_logits, true_classes
from .provenance import choose_test_images

MAX_CALIBRATION_IMAGES = 300  # NNCF's own default
MAX_LOSS = 0.5  # percentage points of top-1 accuracy, if the loss is significant
SIGNIFICANCE = 0.05  # the largest p-value of a significant loss: Fisher's convention
# Layers that stay in float32: int8 would double the error of the logits, and save next to no time.
_FLOAT32_LAYERS = ("MatMul",)

Report = Callable[[str], object]


class Decision(NamedTuple):
    """Whether an int8 graph is accurate enough, and why, as quantization.json holds it.

    Args:
        split: The split whose images decided, "val" or "test".
        images: The number of its images.
        worse: The number of images that float32 classifies correctly and int8 does not.
        better: The number of images that int8 classifies correctly and float32 does not.
        p: The p-value of the paired test, in [0, 1].
        passed: Whether the graph is accurate enough.
    """

    split: str
    images: int
    worse: int
    better: int
    p: float
    passed: bool

    def __str__(self) -> str:
        return (
            f"int8 classifies {self.worse} of {self.images} {SPLIT_NAMES[self.split]} images wrongly that "
            f"float32 classifies correctly, and {self.better} the other way round"
        )


def quantize(
    data: ImageFolders,
    repository: Repository,
    output: pathlib.Path,
    *,
    seed: int = 0,
    force: bool = False,
    report: Report = print,
) -> dict:
    """Quantizes a model with NNCF: writes openvino_int8.xml, openvino_int8.bin and quantization.json.

    Args:
        data: The data set, with "train" to calibrate on, "val" to decide on whether int8 is accurate enough,
            and "test" to measure on. Without one of the last two, the other serves for both. Its classes and
            the model's are matched by name.
        repository: The model.
        output: The folder to write to. If it is not the model's own, the model's files are copied to it, too.
        seed: The seed of the choice of calibration images.
        force: Whether to keep a graph that is not accurate enough (`decide`).
        report: Called with each line of progress.

    Returns:
        The content of quantization.json.

    Raises:
        ConfigError: NNCF or OpenVINO is not installed.
        DataError: There is no training set, or neither a validation nor a test set, or a class that the model
            does not have.
        RepositoryError: `output` holds another model.
        WeightsError: int8 is not accurate enough; nothing is written.
    """
    require("nncf", "quantize")
    config = load_config(repository)
    tensors = load_tensors(repository, config)
    float32 = Classifier(config, tensors, precision="float32", runtime="openvino", repository=repository)
    fingerprint = data.fingerprint()
    data, _ = choose_test_images(data, repository.folder, report)
    files = _calibration_files(data, seed)
    deciding, measured = _choose_splits(data, report)
    true = {split: true_classes(data, config.label_names, split) for split in (deciding, measured)}
    digest = weights_digest(repository.folder)
    if (output / "model.safetensors").is_file() and weights_digest(output) != digest:
        raise RepositoryError(f"{output} holds another model: choose another folder with --output.")
    report(f"Calibrating on {len(files)} of {len(data.splits['train'])} training images.")
    graph = _quantized(config, tensors, [load_pixels(file, config.preprocessing) for file in files])

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in NEEDED:
            shutil.copy(repository.folder / name, folder)
        _save(graph, folder)
        notes = {
            "weights_sha256": digest,
            "calibration": {
                "images": len(files),
                "dataset": data.root.resolve().name,
                "fingerprint": fingerprint,
                "seed": seed,
            },
            "preset": "performance",  # symmetric quantization, which suits ReLU
            "versions": {name: importlib.metadata.version(name) for name in ("nncf", "openvino")},
            "split": measured,
            "samples": len(true[measured]),
        }
        write_atomically(folder / NOTES, json.dumps(notes))
        int8 = Classifier.from_pretrained(folder, precision="int8", runtime="openvino")
        if int8.notice:
            raise WeightsError(int8.notice)
        classifiers = {"float32": float32, "int8": int8}
        logits = _classify(classifiers, data, deciding)
        correct = {name: values.argmax(axis=1) == true[deciding] for name, values in logits.items()}
        decision = decide(deciding, correct["float32"], correct["int8"])
        _check(decision, force, report)
        notes["decision"] = decision._asdict()
        # The test set is not looked at before the decision.
        if measured != deciding:
            logits = _classify(classifiers, data, measured)
        for name, stored in {"float32": ["model.safetensors"], "int8": [GRAPH, WEIGHTS]}.items():
            size = sum((folder / file).stat().st_size for file in stored)
            notes[name] = _measure(name, logits[name], true[measured], size, measured, report)
        write_atomically(folder / NOTES, json.dumps(notes, indent=2) + "\n")
        _install(folder, repository.folder, output)
    return notes


def decide(split: str, float32_correct: np.ndarray, int8_correct: np.ndarray) -> Decision:
    """Decides whether int8 is accurate enough, from the same images classified in both precisions.

    It is not if it loses more than `MAX_LOSS` points of top-1 accuracy and the loss is significant. The test
    is McNemar's, one-sided and exact. Images that both precisions classify correctly, or both wrongly, say
    nothing; if the precisions are equally accurate, each of the others is as likely worse as better.

    Equal accuracy is the null hypothesis: the test guards against chance, and the limit says which real loss
    is too large. The null hypothesis that int8 loses up to the limit would have no exact test, because it
    leaves open on how many images the precisions differ. The one that int8 loses more than the limit, as in a
    non-inferiority trial, would refuse almost every graph on a few hundred images.

    What passes if int8 gets no image right that float32 gets wrong: up to 4 worse images of 100 (4 points),
    4 of 500 (0.8 points), and 25 of 5,000 (0.5 points). If it gets 10 right: 19, 19 and 35 (9, 1.8 and 0.5
    points). A loss of a single image always passes: its p-value is 1/2.

    Sources: McNemar, 1947, Psychometrika 12(2), for the test. Dietterich, 1998, Neural Computation 10(7), for
    the choice: of the tests compared there, it is the only one with an acceptable rate of false alarms for
    classifiers that are trained once.

    Args:
        split: The split of the images, "val" or "test".
        float32_correct: (images,) bool, which images float32 classifies correctly.
        int8_correct: (images,) bool, which of the same images int8 classifies correctly.

    Returns:
        The decision.
    """
    images = len(float32_correct)
    worse = int((float32_correct & ~int8_correct).sum())
    better = int((int8_correct & ~float32_correct).sum())
    p = _mcnemar(worse, better)
    too_much = 100 * (worse - better) > MAX_LOSS * images
    return Decision(split, images, worse, better, p, passed=not (too_much and p <= SIGNIFICANCE))


def _mcnemar(worse: int, better: int) -> float:
    """The probability of `worse` or more heads in `worse + better` tosses of a fair coin."""
    tosses = worse + better
    # From each binomial coefficient to the next, in integers: exact, and fast for thousands of tosses.
    ways = itertools.accumulate(
        range(worse, tosses),
        lambda ways, heads: ways * (tosses - heads) // (heads + 1),
        initial=math.comb(tosses, worse),
    )
    return sum(ways) / 2**tosses


def _choose_splits(data: ImageFolders, report: Report) -> tuple[str, str]:
    """The split that decides and the split that is measured: "val" and "test", or twice the one there is."""
    splits = [split for split in ("val", "test") if split in data.splits]
    if not splits:
        raise DataError(
            f"{data.root} has no val and no test folder to compare int8 with float32 on: make a val folder, "
            f"with the same class folders as train."
        )
    if splits == ["val"]:
        report(f"{data.root} has no test images: accuracy is measured on the validation images, too.")
    if splits == ["test"]:
        report(f"{data.root} has no validation images: the test images decide, too.")
    return splits[0], splits[-1]


def _calibration_files(data: ImageFolders, seed: int) -> list[pathlib.Path]:
    if "train" not in data.splits:
        raise DataError(
            f"{data.root} has no train folder to calibrate on: make one, with the same class folders as test."
        )
    files = data.splits["train"].files
    chosen = np.random.default_rng(seed).permutation(len(files))[:MAX_CALIBRATION_IMAGES]
    return [files[index] for index in sorted(chosen)]


def _quantized(config: ModelConfig, tensors: dict[str, np.ndarray], images: Sequence[np.ndarray]):
    """Quantizes weights and activations of the network's graph.

    Args:
        config: The config of the model.
        tensors: The weights under timm's keys.
        images: The calibration images, each (height, width, 3) uint8 RGB.

    Returns:
        An `openvino.Model`.
    """
    import nncf

    from resnext.openvino_graph import build_graph

    nncf.set_log_level(logging.ERROR)
    graph = build_graph(config, tensors)
    calibration = nncf.Dataset(images, lambda pixels: {"images": pixels[None]})
    ignored = nncf.IgnoredScope(names=_sensitive_layers(graph), types=list(_FLOAT32_LAYERS))
    with contextlib.redirect_stdout(io.StringIO()):  # hides its progress bars
        return nncf.quantize(
            graph,
            calibration,
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(images),
            ignored_scope=ignored,
        )


def _sensitive_layers(graph) -> list[str]:
    """The names of more layers that stay in float32, because int8 would add much to the error of the logits.

    They are the convolutions of a deep stem and the products of squeeze-and-excitation, which are small. A
    stem of one large convolution is quantized.

    Args:
        graph: An `openvino.Model` that is not quantized yet.
    """
    layers = [(layer.get_type_name(), layer.get_friendly_name()) for layer in graph.get_ordered_ops()]
    pooling = [kind for kind, _ in layers].index("MaxPool")
    stem = [name for kind, name in layers[:pooling] if kind == "Convolution"]
    products = [name for kind, name in layers[pooling:] if kind == "Multiply"]
    return (stem if len(stem) > 1 else []) + products


def _save(graph, folder: pathlib.Path) -> None:
    import openvino

    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)


def _classify(classifiers: dict[str, Classifier], data: ImageFolders, split: str) -> dict[str, np.ndarray]:
    """The logits of each classifier for the images of a split, (images, classes) float32."""
    files = data.splits[split].files
    return {name: compute_logits(classifier, files) for name, classifier in classifiers.items()}


def _measure(name: str, logits: np.ndarray, true: np.ndarray, size: int, split: str, report: Report) -> dict:
    """Accuracy, loss and size of a model, as quantization.json holds them."""
    result = scores(logits, true)
    report(
        f"{name}: top-1 accuracy {result['top1']:.4f}, loss {result['loss']:.4f} on {len(true)} "
        f"{SPLIT_NAMES[split]} images, {size / 1e6:.1f} MB."
    )
    return {"top1": result["top1"], "loss": result["loss"], "bytes": size}


def _check(decision: Decision, force: bool, report: Report) -> None:
    if decision.passed:
        report(f"{decision}: accepted (p = {decision.p:.2g}).")
        return
    loss = 100 * (decision.worse - decision.better) / decision.images
    found = (
        f"{decision}: a significant loss of {loss:.2f} points of top-1 accuracy, more than {MAX_LOSS} "
        f"(p = {decision.p:.2g})."
    )
    if not force:
        raise WeightsError(f"{found} Nothing is written: add --force to keep it anyway.")
    report(f"{found} Kept because of --force.")


def _install(folder: pathlib.Path, source: pathlib.Path, output: pathlib.Path) -> None:
    """Copies the three files, in an order in which a graph is never beside the notes of another one."""
    output.mkdir(parents=True, exist_ok=True)
    if output.resolve() != source.resolve():
        copy_files(source, output)
    (output / GRAPH).unlink(missing_ok=True)
    for name in (WEIGHTS, NOTES, GRAPH):
        with replacing(output / name) as beside:
            shutil.copyfile(folder / name, beside)
