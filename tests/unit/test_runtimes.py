"""Both runtimes give the same outputs, and a classifier that cannot run as asked says what it does."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from resnext.architecture import Architecture
from resnext.classifier import Classifier, Output
from resnext.config import ModelConfig, Preprocessing
from resnext.errors import ConfigError, WeightsError
from resnext.stream import infer_images
from resnext.weights import save_tensors
from tests.helpers.repositories import random_tensors

ROOT = pathlib.Path(__file__).parents[2]
BASE = Architecture(layers=(1, 1, 1, 1), channels=(8, 16, 16, 32), cardinality=4, base_width=16)
VARIANTS = {
    "plain": BASE,
    "deep stem, average-pool shortcut, squeeze-and-excitation": dataclasses.replace(
        BASE, stem_type="deep", stem_width=8, avg_down=True, attn_layer="se", drop_path_rate=0.1
    ),
}


def image(seed: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


@pytest.mark.parametrize("architecture", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("size", [64, 75])
def test_both_runtimes_give_the_same_output(architecture, size):
    preprocessing = Preprocessing(size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    config, tensors = (
        ModelConfig("resnext50_32x4d", architecture, tuple("abcdefg"), preprocessing),
        random_tensors(architecture, 7),
    )
    classifiers = [
        Classifier(config, tensors, precision="float32", runtime=runtime) for runtime in ("openvino", "keras")
    ]
    assert [classifier.runtime for classifier in classifiers] == ["openvino", "keras"]
    openvino, keras = (classifier.run(image(0, size)) for classifier in classifiers)
    for name in Output._fields:
        expected, given = getattr(openvino, name), getattr(keras, name)
        assert given.shape == expected.shape
        assert given.dtype == np.float32
        assert np.abs(given - expected).max() < 1e-5 * np.abs(expected).max()


def test_keras_keeps_the_outputs_of_threads_apart(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository, runtime="keras")
    images = [image(seed) for seed in range(32)]
    alone = [classifier.run(pixels).logits for pixels in images]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda pixels: classifier.run(pixels).logits, images))
    assert np.allclose(alone, together, rtol=1e-5, atol=1e-5)


def test_keras_in_bfloat16_is_close_and_leaves_other_models_alone(tiny_repository):
    exact = Classifier.from_pretrained(tiny_repository, precision="float32", runtime="keras")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        rounded = Classifier.from_pretrained(tiny_repository, precision="bfloat16", runtime="keras")
        again = Classifier.from_pretrained(tiny_repository, runtime="keras")
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert (exact.precision, rounded.precision, again.precision) == ("float32", "bfloat16", "float32")
    outputs = [classifier.run(image(0)) for classifier in (exact, rounded, again)]
    assert np.array_equal(outputs[0].logits, outputs[2].logits)
    assert 0 < np.abs(outputs[0].probabilities - outputs[1].probabilities).max() < 0.05


def test_the_throughput_model_gives_the_classifier_s_output(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32")
    compiled = classifier.throughput_model()
    assert compiled is classifier.throughput_model()
    assert np.allclose(
        compiled({"images": image(3)[None]})["logits"][0],
        classifier.run(image(3)).logits,
        rtol=1e-5,
        atol=1e-5,
    )
    assert Classifier.from_pretrained(tiny_repository, runtime="keras").throughput_model() is None


@pytest.mark.slow
def test_keras_serves_where_openvino_is_not_installed(tiny_repository, tmp_path):
    Image.fromarray(image(1)).save(tmp_path / "photo.png")
    program = (
        "import sys, runpy; sys.modules['openvino'] = None; runpy.run_module('resnext', run_name='__main__')"
    )
    arguments = [
        "classify",
        tmp_path / "photo.png",
        "--model",
        tiny_repository,
        "--precision",
        "int8",
        "--json",
    ]
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    best = Classifier.from_pretrained(tiny_repository, precision="float32")(tmp_path / "photo.png", 1)[0]
    (first, *_) = json.loads(result.stdout)["predictions"]
    assert first == {"label": best.label, "probability": pytest.approx(best.probability, rel=1e-4)}
    assert "python -m resnext: An int8 graph needs OpenVINO: classifying in float32.\n" in result.stderr


def test_a_runtime_that_is_unknown_or_not_installed_is_named(tiny_repository, monkeypatch):
    with pytest.raises(ConfigError, match="runtime must be one of auto, openvino, keras, not 'onnx'"):
        Classifier.from_pretrained(tiny_repository, runtime="onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match="'openvino' is not installed: pip install openvino"):
        Classifier.from_pretrained(tiny_repository, runtime="openvino")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for runtime, package in (("auto", "openvino"), ("keras", "tensorflow")):
        with pytest.raises(ConfigError, match=f"'{runtime}' is not installed: pip install {package}"):
            Classifier.from_pretrained(tiny_repository, runtime=runtime)


def test_a_repository_without_int8_graph_falls_back_to_float32(tiny_repository):
    classifier = Classifier.from_pretrained(tiny_repository, precision="int8")
    assert classifier.precision == "float32"
    assert classifier.notice == (
        f"{tiny_repository} has no int8 graph: classifying in float32; make one with `resnext quantize`."
    )
    exact = Classifier.from_pretrained(tiny_repository, precision="float32")
    assert exact.notice == ""
    assert np.array_equal(classifier.run(image(0)).logits, exact.run(image(0)).logits)


@pytest.mark.parametrize("runtime", ["openvino", "keras"])
def test_weights_whose_output_overflows_are_an_error(runtime, tiny_repository, tiny_config):
    tensors = random_tensors(tiny_config.architecture, tiny_config.num_classes)
    tensors["fc.weight"] = np.full_like(tensors["fc.weight"], 3e38)
    save_tensors(tensors, tiny_repository / "model.safetensors")
    classifier = Classifier.from_pretrained(tiny_repository, precision="float32", runtime=runtime)
    with pytest.raises(WeightsError, match="NaN or infinite"):
        classifier.run(image(0))
    with pytest.raises(WeightsError, match="NaN or infinite"):
        list(infer_images(classifier, [Image.fromarray(image(0))] * 20))


def test_weights_of_another_network_are_named_by_both_runtimes(tiny_repository, tiny_config):
    tensors = random_tensors(tiny_config.architecture, tiny_config.num_classes)
    del tensors["fc.weight"]
    save_tensors(tensors, tiny_repository / "model.safetensors")
    for runtime in ("openvino", "keras"):
        with pytest.raises(WeightsError, match="model.safetensors has no tensor 'fc.weight'"):
            Classifier.from_pretrained(tiny_repository, runtime=runtime)


def test_a_signal_is_handled_after_models_were_closed():
    """OpenVINO's threads' stacks for signal handlers: one that is freed in use ends the process."""
    program = (
        "import os, signal, sys\n"
        "from resnext.classifier import Classifier\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled', flush=True))\n"
        "for _ in range(2):\n"
        "    classifier = Classifier.from_pretrained()\n"
        "    classifier.throughput_model()\n"
        "    del classifier\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('end')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout.split()) == (0, ["handled", "end"]), result.stderr
