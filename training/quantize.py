"""`quantize`: makes an int8 graph for OpenVINO, and measures what it costs in accuracy."""

import contextlib
import importlib.metadata
import io
import json
import logging
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from resnext.atomic import replacing, write_atomically
from resnext.classifier import Classifier
from resnext.command import require
from resnext.config import ModelConfig
from resnext.errors import DataError, RepositoryError, WeightsError
from resnext.int8 import GRAPH, NOTES, WEIGHTS, weights_digest
from resnext.preprocessing import load_pixels
from resnext.repository import NEEDED, PATTERNS, Repository, load_config, load_tensors

from .data import ImageFolders
from .evaluate import compute_logits, scores, true_classes

MAX_CALIBRATION_IMAGES = 300  # NNCF's own default
MAX_LOSS = 0.5  # percentage points of top-1 accuracy on the test set
# Layers that stay in float32: int8 would double the error of the logits, and save next to no time.
_FLOAT32_LAYERS = ("MatMul",)

Report = Callable[[str], object]


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
        data: The data set, with "train" to calibrate on and "test" to measure on. Its classes and the model's
            are matched by name.
        repository: The model.
        output: The folder to write to. If it is not the model's own, the model's files are copied to it, too.
        seed: The seed of the choice of calibration images.
        force: Whether to keep a graph that loses more than `MAX_LOSS` points of top-1 accuracy.
        report: Called with each line of progress.

    Returns:
        The content of quantization.json.

    Raises:
        ConfigError: NNCF or OpenVINO is not installed.
        DataError: There is no training or test set, or it has a class that the model does not have.
        RepositoryError: `output` holds another model.
        WeightsError: int8 loses more than `MAX_LOSS` points; nothing is written.
    """
    require("nncf", "quantize")
    config = load_config(repository)
    tensors = load_tensors(repository, config)
    float32 = Classifier(config, tensors, precision="float32", runtime="openvino", repository=repository)
    true = true_classes(data, config.label_names)
    files = _calibration_files(data, seed)
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
                "fingerprint": data.fingerprint(),
                "seed": seed,
            },
            "preset": "performance",  # symmetric quantization, which suits ReLU
            "versions": {name: importlib.metadata.version(name) for name in ("nncf", "openvino")},
            "samples": len(true),
        }
        write_atomically(folder / NOTES, json.dumps(notes))
        int8 = Classifier.from_pretrained(folder, precision="int8", runtime="openvino")
        if int8.notice:
            raise WeightsError(int8.notice)
        test = data.splits["test"].files
        notes["float32"] = _measure("float32", float32, [folder / "model.safetensors"], test, true, report)
        notes["int8"] = _measure("int8", int8, [folder / GRAPH, folder / WEIGHTS], test, true, report)
        _check_loss(notes, force)
        write_atomically(folder / NOTES, json.dumps(notes, indent=2) + "\n")
        _install(folder, repository.folder, output)
    return notes


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
    calibration = nncf.Dataset(images, lambda pixels: {"images": pixels[None]})
    with contextlib.redirect_stdout(io.StringIO()):  # hides its progress bars
        return nncf.quantize(
            build_graph(config, tensors),
            calibration,
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(types=list(_FLOAT32_LAYERS)),
        )


def _save(graph, folder: pathlib.Path) -> None:
    import openvino

    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)


def _measure(
    name: str,
    classifier: Classifier,
    model_files: Sequence[pathlib.Path],
    test_files: Sequence[pathlib.Path],
    true: np.ndarray,
    report: Report,
) -> dict:
    """Accuracy, loss and size of a model, as quantization.json holds them."""
    result = scores(compute_logits(classifier, test_files), true)
    size = sum(file.stat().st_size for file in model_files)
    report(
        f"{name}: top-1 accuracy {result['top1']:.4f}, loss {result['loss']:.4f} on {len(true)} test images, "
        f"{size / 1e6:.1f} MB."
    )
    return {"top1": result["top1"], "loss": result["loss"], "bytes": size}


def _check_loss(notes: dict, force: bool) -> None:
    loss = 100 * (notes["float32"]["top1"] - notes["int8"]["top1"])
    if loss > MAX_LOSS and not force:
        raise WeightsError(
            f"int8 loses {loss:.2f} points of top-1 accuracy, more than {MAX_LOSS}: nothing is written. "
            f"Add --force to keep it anyway."
        )


def _install(folder: pathlib.Path, source: pathlib.Path, output: pathlib.Path) -> None:
    """Copies the three files, in an order in which a graph is never beside the notes of another one."""
    output.mkdir(parents=True, exist_ok=True)
    if output.resolve() != source.resolve():
        for file in {file for pattern in PATTERNS for file in source.glob(pattern) if file.is_file()}:
            with replacing(output / file.relative_to(source)) as beside:
                shutil.copyfile(file, beside)
    (output / GRAPH).unlink(missing_ok=True)
    for name in (WEIGHTS, NOTES, GRAPH):
        with replacing(output / name) as beside:
            shutil.copyfile(folder / name, beside)
