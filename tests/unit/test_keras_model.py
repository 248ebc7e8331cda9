"""The Keras model under every dtype policy, Keras backend and setting of keras.json."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from resnext.architecture import Architecture
from resnext.errors import ConfigError
from resnext.keras_model import StochasticDepth, build_model, dtype_policy
from tests.training.helpers import write_network

ROOT = pathlib.Path(__file__).parents[2]
ARCHITECTURE = Architecture(layers=(1, 1, 1, 1), channels=(8, 8, 8, 8), cardinality=2, base_width=32)


def python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "options", [{"num_classes": 3}, {"num_classes": 0}, {"num_classes": 0, "features_only": True}]
)
def test_outputs_are_float32_under_every_dtype_policy(policy, options):
    with dtype_policy(policy):
        model = build_model(ARCHITECTURE, **options)
    assert model.get_layer("layer1.0.conv2").compute_dtype == policy.removeprefix("mixed_")
    outputs = model(np.zeros((1, 64, 64, 3), np.float32))
    values = outputs.values() if isinstance(outputs, dict) else [outputs]
    assert {value.dtype.name for value in values} == {"float32"}


def test_a_model_is_built_by_name_and_knows_its_config():
    model = build_model("resnext26_small", label_names=["a", "b"])
    assert model.resnext_config.name == model.name == "resnext26_small"
    assert model.resnext_config.label_names == ("a", "b")
    assert model.output_shape == (None, 2)


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "num_classes or label_names"),
        ({"num_classes": 2, "label_names": ["a"]}, "1 label_names, but num_classes is 2"),
        ({"num_classes": 1.5}, "num_classes must be a whole number"),
        ({"num_classes": True}, "num_classes must be a whole number"),
        ({"label_names": "ab"}, "label_names must be a list"),
        ({"label_names": []}, "label_names"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options, words):
    with pytest.raises(ConfigError, match=words):
        build_model(ARCHITECTURE, **options)


LOGITS = """
import sys
import numpy as np
from resnext import from_pretrained
model = from_pretrained(sys.argv[2])
import keras
images = np.random.default_rng(0).uniform(0, 255, (1, 65, 64, 3)).astype("float32")
np.save(sys.argv[1], keras.ops.convert_to_numpy(model(images)))
print(keras.backend.backend(), keras.config.image_data_format())
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend, data_format", [("tensorflow", "channels_first"), ("jax", "channels_last")])
def test_every_keras_json_gives_the_same_logits(backend, data_format, tmp_path):
    from resnext.pretrained import from_pretrained

    network = write_network(tmp_path / "network").folder  # JAX compiles an operation for each shape
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": data_format, "backend": backend}))
    file = tmp_path / "logits.npy"
    result = python(LOGITS, file, network, KERAS_HOME=str(tmp_path), KERAS_BACKEND="")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{backend} {data_format}\n"
    images = np.random.default_rng(0).uniform(0, 255, (1, 65, 64, 3)).astype("float32")
    expected = from_pretrained(network)(images).numpy()
    assert np.abs(np.load(file) - expected).max() < 1e-5 * np.abs(expected).max()


CAUGHT = """
import sys
for package in sys.argv[2:]:
    sys.modules[package] = None
from resnext.errors import ConfigError
try:
    exec(sys.argv[1])
except ConfigError as error:
    assert error.__suppress_context__ or error.__context__ is None
    print(error)
"""
FROM_PRETRAINED = "from resnext import from_pretrained"
KERAS_RUNTIME = "from resnext import Classifier; Classifier.from_pretrained(runtime='keras')"


@pytest.mark.slow
@pytest.mark.parametrize("program", [FROM_PRETRAINED, KERAS_RUNTIME])
@pytest.mark.parametrize(
    "backend, missing, message",
    [
        ("torch", ["torch"], "needs torch, which is not installed: install it, or unset KERAS_BACKEND."),
        ("jax", ["jax"], "needs jax, which is not installed: install it, or unset KERAS_BACKEND."),
        ("nonsense", [], "Unable to import backend : nonsense): unset KERAS_BACKEND"),
        ("", ["keras"], "pip install 'resnext[train]'"),
    ],
)
def test_a_keras_that_cannot_be_imported_is_one_clear_error(program, backend, missing, message):
    result = python(CAUGHT, program, *missing, KERAS_BACKEND=backend)
    assert result.returncode == 0, result.stderr
    assert message in result.stdout
    assert result.stdout.count("\n") == 1


@pytest.mark.slow
def test_without_tensorflow_keras_says_what_to_install():
    result = python(CAUGHT, FROM_PRETRAINED, "tensorflow", KERAS_BACKEND="")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "Keras needs TensorFlow, which is not installed: pip install 'resnext[train]'\n"


@pytest.mark.slow
def test_the_keras_runtime_needs_tensorflow_as_backend():
    result = python(CAUGHT, KERAS_RUNTIME, KERAS_BACKEND="jax")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(
        "The keras runtime needs TensorFlow, but Keras is set to the backend 'jax':"
    )


def test_classifying_with_openvino_does_not_import_keras():
    code = (
        "import sys; from resnext import Classifier; Classifier.from_pretrained(runtime='openvino');"
        "print('keras' in sys.modules)"
    )
    result = python(code, KERAS_BACKEND="nonsense")
    assert (result.returncode, result.stdout) == (0, "False\n"), result.stderr


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_stochastic_depth_drops_the_images_that_dropout_drops(dtype):
    images = np.random.default_rng(0).normal(size=(64, 2, 3, 4)).astype(np.float32)
    options = {"rate": 0.3, "noise_shape": (None, 1, 1, 1), "seed": 1, "dtype": dtype}
    theirs, ours = keras.layers.Dropout(**options), StochasticDepth(**options)
    for _ in range(2):
        expected, found = (np.asarray(layer(images, training=True), np.float32) for layer in (theirs, ours))
        assert 0 < (found == 0).all(axis=(1, 2, 3)).sum() < 64
        assert np.array_equal(found, expected)
    assert np.array_equal(ours(images), theirs(images))
    assert [v.shape for v in ours.variables] == [v.shape for v in theirs.variables]
