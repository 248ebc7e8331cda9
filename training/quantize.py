"""`quantize`: an int8 graph beside the weights, calibrated on training images, and what it costs in accuracy."""

import contextlib
import importlib.metadata
import io
import json
import logging
import pathlib
import shutil
import tempfile

import numpy as np

from resnext.atomic import replacing, write_atomically
from resnext.classifier import Classifier
from resnext.command import require
from resnext.config import ModelConfig
from resnext.errors import DataError, RepositoryError, WeightsError
from resnext.int8 import GRAPH, NOTES, WEIGHTS, weights_digest
from resnext.repository import NEEDED, PATTERNS, Repository
from resnext.shapes import tensor_shapes
from resnext.weights import read_tensors

from .data import ImageFolders
from .evaluate import logits_of, pixels_of, scores, true_classes

CALIBRATION = 300  # training images at most; NNCF's own default
_EXACT = (
    "MatMul",
)  # in 8 bits, the dense layer would double the error of the logits and save next to no time
MAX_LOSS = 0.5  # points of top-1 accuracy on the test set


def quantize(
    data: ImageFolders,
    repository: Repository,
    output: pathlib.Path,
    *,
    seed: int = 0,
    force: bool = False,
    report=print,
) -> dict:
    """Writes openvino_int8.xml, openvino_int8.bin and quantization.json (NNCF's post-training quantisation).

    Args:
        data: with "train" to calibrate on and "test" to measure on; class names are matched with the model's by name.
        repository: the model.
        output: the folder to write to. If it is not the model's own, the model's files are copied there, too.
        seed: of the choice of calibration images.
        force: write even if int8 loses more than half a point of top-1 accuracy.
        report: takes a line of text.

    Returns:
        What quantization.json holds.

    Raises:
        ConfigError: NNCF or OpenVINO is not installed.
        DataError: there is no train or test set, or it has a class that the model does not know.
        RepositoryError: output holds another model.
        WeightsError: int8 loses more than half a point; nothing is written.
    """
    require("nncf", "quantize")
    config = ModelConfig.read(repository.folder / "config.json")
    expected = tensor_shapes(config.architecture, config.num_classes)
    tensors = read_tensors(repository.folder / "model.safetensors", expected)
    exact = Classifier(config, tensors, precision="float32", runtime="openvino", repository=repository)
    true = true_classes(data, config.label_names)
    if "train" not in data.splits:
        raise DataError(
            f"{data.root} has no train folder to calibrate on: make one, with the same class folders as test."
        )
    digest = weights_digest(repository.folder)
    if (output / "model.safetensors").is_file() and weights_digest(output) != digest:
        raise RepositoryError(f"{output} holds another model: name another folder by --output.")
    train = data.splits["train"].files
    chosen = [
        train[place] for place in sorted(np.random.default_rng(seed).permutation(len(train))[:CALIBRATION])
    ]
    report(f"Calibrating on {len(chosen)} of {len(train)} training images.")
    graph = _quantized(config, tensors, [pixels_of(exact, file) for file in chosen])

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in NEEDED:
            shutil.copy(repository.folder / name, folder)
        _save(graph, folder)
        notes = {
            "weights_sha256": digest,
            "calibration": {
                "images": len(chosen),
                "dataset": data.root.resolve().name,
                "fingerprint": data.fingerprint(),
                "seed": seed,
            },
            "preset": "performance",  # symmetric: right for ReLU
            "versions": {name: importlib.metadata.version(name) for name in ("nncf", "openvino")},
            "samples": len(true),
        }
        write_atomically(folder / NOTES, json.dumps(notes))
        small = Classifier.from_pretrained(folder, precision="int8", runtime="openvino")
        if small.notice:
            raise WeightsError(small.notice)
        for name, classifier, files in (
            ("float32", exact, ["model.safetensors"]),
            ("int8", small, [GRAPH, WEIGHTS]),
        ):
            result = scores(logits_of(classifier, data.splits["test"].files), true)
            size = sum((folder / file).stat().st_size for file in files)
            notes[name] = {"top1": result["top1"], "loss": result["loss"], "bytes": size}
            report(
                f"{name}: top-1 {result['top1']:.4f}, loss {result['loss']:.4f} on {len(true)} test images, {size / 1e6:.1f} MB."
            )
        lost = 100 * (notes["float32"]["top1"] - notes["int8"]["top1"])
        if lost > MAX_LOSS and not force:
            raise WeightsError(
                f"int8 loses {lost:.2f} points of top-1 accuracy, more than {MAX_LOSS}: nothing is written; --force keeps it all the same."
            )
        write_atomically(folder / NOTES, json.dumps(notes, indent=2) + "\n")
        _install(folder, repository.folder, output)
    return notes


def _quantized(config, tensors, images):
    """The network's graph with weights and activations in 8 bits."""
    import nncf

    from resnext.openvino_graph import build_graph

    nncf.set_log_level(logging.ERROR)
    calibration = nncf.Dataset(images, lambda pixels: {"images": pixels[None]})
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            build_graph(config, tensors),
            calibration,
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(types=list(_EXACT)),
        )


def _save(graph, folder):
    import openvino

    openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)


def _install(folder, source, output):
    """Puts the three files in place, so that at no moment a graph lies beside numbers of another."""
    output.mkdir(parents=True, exist_ok=True)
    if output.resolve() != source.resolve():
        for file in {file for pattern in PATTERNS for file in source.glob(pattern) if file.is_file()}:
            with replacing(output / file.relative_to(source)) as beside:
                shutil.copyfile(file, beside)
    (output / GRAPH).unlink(missing_ok=True)
    for name in (WEIGHTS, NOTES, GRAPH):
        with replacing(output / name) as beside:
            shutil.copyfile(folder / name, beside)
