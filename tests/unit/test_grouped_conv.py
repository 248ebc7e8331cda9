import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnext.errors import ConfigError
from resnext.grouped_conv import (
    GroupedConv2D,
    block_diagonal_convolution,
    has_native_gradient,
    pointwise_convolution,
)
from tests.helpers.forks import training_python

ROOT = pathlib.Path(__file__).parents[2]


def python(code, interpreter=(sys.executable,), **environment):
    return subprocess.run(
        [*interpreter, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def one_by_one(images, kernel, strides, padding, groups):
    """The definition: every group convolved by itself."""
    parts = zip(tf.split(images, groups, axis=-1), tf.split(kernel, groups, axis=-1))
    return tf.concat([tf.nn.conv2d(x, k, strides, padding) for x, k in parts], axis=-1)


def value_and_gradients(function, images, kernel):
    with tf.GradientTape() as tape:
        tape.watch((images, kernel))
        output = function(images, kernel)
        loss = tf.reduce_sum(tf.cast(output, tf.float32) ** 2)
    return [output.numpy(), *(gradient.numpy() for gradient in tape.gradient(loss, (images, kernel)))]


@pytest.mark.parametrize("strides, padding", [(1, "SAME"), (2, "VALID")])
@pytest.mark.parametrize("groups, filters", [(2, 2), (6, 12), (8, 16), (32, 32)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_block_diagonal_convolution_equals_grouped_convolution(strides, padding, groups, filters, size):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.standard_normal((2, *size, groups * 2)), tf.float32)
    kernel = tf.constant(rng.standard_normal((3, 3, 2, filters)), tf.float32)
    expected = value_and_gradients(lambda x, k: one_by_one(x, k, strides, padding, groups), images, kernel)
    pieces = value_and_gradients(
        lambda x, k: block_diagonal_convolution(x, k, strides, padding, groups), images, kernel
    )
    ways = [pieces]
    if has_native_gradient("float32"):
        ways.append(value_and_gradients(lambda x, k: tf.nn.conv2d(x, k, strides, padding), images, kernel))
    for way in ways:
        for value, right in zip(way, expected, strict=True):
            assert np.abs(value - right).max() < 1e-5 * np.abs(right).max()


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)])
def test_a_pointwise_convolution_equals_that_of_tensorflow(strides, size):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.standard_normal((3, *size, 16)), tf.float32)
    kernel = tf.constant(rng.standard_normal((1, 1, 16, 24)), tf.float32)
    expected = value_and_gradients(lambda x, k: tf.nn.conv2d(x, k, strides, "VALID"), images, kernel)
    found = value_and_gradients(lambda x, k: pointwise_convolution(x, k, strides), images, kernel)
    for value, right in zip(found, expected, strict=True):
        assert value.shape == right.shape
        assert np.abs(value - right).max() < 1e-5 * np.abs(right).max()


@pytest.mark.parametrize("side, operation", [(16, "MatMul"), (17, "Conv2D"), (None, "Conv2D")])
def test_only_small_maps_are_multiplied_as_matrices(side, operation):
    layer = GroupedConv2D(8, 1)
    layer.build((None, side, side, 4))
    signature = tf.TensorSpec((None, side, side, 4))
    graph = tf.function(layer).get_concrete_function(signature).graph
    found = {node.type for node in graph.get_operations()} & {"MatMul", "Conv2D"}
    assert found == {operation}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("strides", [1, 2])
def test_the_layer_trains_in_every_precision(dtype, strides):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 9, 6, 16)).astype(np.float32)
    layer = GroupedConv2D(
        32, 3, strides, groups=8, use_bias=False, dtype=f"mixed_{dtype}" if dtype != "float32" else dtype
    )
    layer.build((None, None, None, 16))
    kernel = rng.standard_normal(layer.kernel.shape).astype(np.float32)
    layer.kernel.assign(kernel)
    with tf.GradientTape() as tape:
        output = layer(images)
        loss = tf.reduce_mean(tf.cast(output, tf.float32) ** 2)
    gradient = tape.gradient(loss, layer.kernel.value)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = value_and_gradients(
        lambda x, k: one_by_one(x, k, strides, "VALID", 8), tf.constant(padded), tf.constant(kernel)
    )
    tolerance = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 5e-3}[dtype]  # bfloat16 has 8 bits
    assert (
        np.abs(output.numpy().astype(np.float32) - expected[0]).max() < tolerance * np.abs(expected[0]).max()
    )
    right = expected[2] / expected[0].size
    assert np.abs(gradient.numpy() - right).max() < tolerance * np.abs(right).max()
    assert layer.compute_output_shape((2, 9, 6, 16)) == tuple(output.shape)


GRADIENT = """
import numpy as np, tensorflow as tf
from resnext.grouped_conv import GroupedConv2D, has_native_gradient
rng = np.random.default_rng(0)
layer = GroupedConv2D(16, 3, 2, groups=8)
images = tf.constant(rng.standard_normal((2, 9, 7, 16)), tf.float32)
layer(images)
layer.kernel.assign(rng.standard_normal(layer.kernel.shape))
@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) ** 2)
    return tape.gradient(loss, layer.kernel.value)
print(has_native_gradient("float32"), *step().numpy().ravel().tolist())
"""


@pytest.mark.slow
def test_gradients_are_the_same_where_onednn_is_off():
    results = [python(GRADIENT, TF_ENABLE_ONEDNN_OPTS="0"), python(GRADIENT, training_python())]
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    off, on = (result.stdout.split() for result in results)
    assert off[0] == "False"
    off, on = np.array(off[1:], float), np.array(on[1:], float)
    assert len(off) == 3 * 3 * 2 * 16
    assert np.abs(on).max() > 1
    assert np.abs(off - on).max() < 1e-5 * np.abs(on).max()


def test_the_probe_works_while_a_graph_is_traced():
    has_native_gradient.cache_clear()
    eager = has_native_gradient("float16")
    has_native_gradient.cache_clear()
    traced = []

    @tf.function
    def trace():
        traced.append(has_native_gradient("float16"))

    trace()
    assert traced == [eager]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "numpy"])
def test_other_backends_use_keras_own_convolution(backend):
    code = """
import keras, numpy as np
from resnext.grouped_conv import GroupedConv2D
layer = GroupedConv2D(8, 3, 2, groups=4)
x = np.random.default_rng(0).standard_normal((2, 7, 6, 8)).astype("float32")
y = np.asarray(layer(x))
assert y.shape == (2, 4, 3, 8), y.shape
kernel, padded = np.asarray(layer.kernel), np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
first = np.einsum("nijc,ijcf->nf", padded[:, :3, :3, :2], kernel[..., :2])
assert np.allclose(y[:, 0, 0, :2], first, atol=1e-5)
print(keras.backend.backend())
"""
    result = python(code, KERAS_BACKEND=backend)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{backend}\n"


def test_groups_that_do_not_divide_are_named():
    with pytest.raises(ConfigError, match="3 groups do not divide 64 filters"):
        GroupedConv2D(64, 3, groups=3)
    with pytest.raises(ConfigError, match="0 groups do not divide 64 filters"):
        GroupedConv2D(64, 3, groups=0)
    with pytest.raises(ConfigError, match="4 groups do not divide 6 input channels"):
        GroupedConv2D(64, 3, groups=4)(np.zeros((1, 5, 5, 6), np.float32))


OPTIONS = {
    "dilation": {"dilation_rate": 2},
    "dilation of two sizes": {"dilation_rate": (1, 3)},
    "kernel of two sizes": {"kernel_size": (1, 5)},
    "kernel of two sizes with strides": {"kernel_size": (5, 3), "strides": 2},
    "strides of two sizes": {"strides": (1, 2)},
    "kernel, strides and one group": {"kernel_size": (3, 7), "strides": (2, 3), "groups": 1},
    "dilation and one group": {"dilation_rate": (2, 1), "groups": 1},
    "a group for each channel": {"groups": 8},
    "1x1 kernel with strides": {"kernel_size": 1, "strides": 2},
    "activation": {"activation": "gelu"},
    "no bias": {"use_bias": False},
    "bias": {"bias_initializer": "ones"},
    "regularizers": {"kernel_regularizer": "l2", "bias_regularizer": "l1", "activity_regularizer": "l2"},
    "constraints": {"kernel_constraint": "unit_norm", "bias_constraint": "non_neg"},
    "data_format": {"data_format": "channels_last"},
    "LoRA": {"lora_rank": 2, "lora_alpha": 3},
    "name and dtype": {"name": "conv", "dtype": "float32"},
}


def stock(layer, images):
    """Keras' own layer, group by group, on images padded by hand."""
    margins = [rate * (side // 2) for rate, side in zip(layer.dilation_rate, layer.kernel_size)]
    images = np.pad(images, ((0, 0), *((margin, margin) for margin in margins), (0, 0)))
    outputs = []
    kernels = np.split(np.asarray(layer.kernel), layer.groups, axis=-1)
    for x, kernel in zip(np.split(images, layer.groups, axis=-1), kernels):
        conv = keras.layers.Conv2D(
            kernel.shape[-1],
            layer.kernel_size,
            layer.strides,
            dilation_rate=layer.dilation_rate,
            use_bias=False,
        )
        conv.build(x.shape)
        conv.kernel.assign(kernel)
        outputs.append(conv(x))
    output = keras.ops.concatenate(outputs, axis=-1)
    return layer.activation(output + (layer.bias if layer.use_bias else 0))


def random_layer(options):
    layer = GroupedConv2D(**{"filters": 16, "kernel_size": 3, "groups": 4} | options)
    layer.build((None, None, None, 8))
    rng = np.random.default_rng(1)
    for variable in layer.weights:
        variable.assign(rng.standard_normal(variable.shape))
    return layer


@pytest.mark.parametrize("native", [True, False], ids=["native", "block-diagonal"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_an_option_gives_the_numbers_of_stock_keras(options, native, monkeypatch):
    if not native:
        monkeypatch.setattr("resnext.grouped_conv.has_native_gradient", lambda dtype: False)
    elif not has_native_gradient("float32"):
        pytest.skip("needs oneDNN or a GPU")
    layer = random_layer(options)
    images = np.random.default_rng(0).standard_normal((2, 11, 9, 8)).astype(np.float32)
    expected = stock(layer, images).numpy()
    with tf.GradientTape() as tape:
        output = layer(images)
        loss = tf.reduce_sum(output**2)
    assert output.shape == expected.shape == layer.compute_output_shape(images.shape)
    assert np.abs(output - expected).max() < 1e-5 * np.abs(expected).max()
    assert all(gradient is not None for gradient in tape.gradient(loss, layer.trainable_weights))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_an_option_survives_config_and_keras_file(options, tmp_path):
    layer = random_layer(options)
    again = GroupedConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    images = keras.Input((11, 9, 8))
    model = keras.Model(images, layer(images))
    model.save(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).standard_normal((2, 11, 9, 8)).astype(np.float32)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.allclose(loaded(pixels), model(pixels), rtol=1e-5, atol=1e-5)
    assert loaded.layers[-1].get_config() == layer.get_config()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"padding": "same"}, "leave padding='same' out"),
        ({"padding": "valid"}, "leave padding='valid' out"),
        ({"data_format": "channels_first"}, "leave data_format='channels_first' out"),
        ({"kernel_size": 2}, "odd kernel_size"),
        ({"kernel_size": (3, 4)}, "odd kernel_size"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size"),
        ({"strides": 0}, "strides"),
        ({"strides": 2, "dilation_rate": 2}, "dilation_rate"),
        ({"filters": 0}, "filters"),
        ({"groups": 2.0}, "2.0 groups do not divide"),
    ],
)
def test_an_option_that_is_not_supported_is_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        GroupedConv2D(**{"filters": 16, "kernel_size": 3, "groups": 4} | options)


def test_quantizing_the_layer_is_refused_by_keras():
    layer = random_layer({})
    with pytest.raises(NotImplementedError):
        layer.quantize("int8")


def test_lora_can_be_enabled_later_and_keeps_the_output():
    layer = random_layer({"use_bias": False})
    images = np.random.default_rng(0).standard_normal((2, 5, 5, 8)).astype(np.float32)
    before = layer(images)
    layer.enable_lora(2)
    assert np.allclose(layer(images), before)
    assert len(layer.trainable_weights) == 2


def test_the_layer_survives_its_config():
    layer = GroupedConv2D(12, 3, 2, groups=4, use_bias=False, name="conv2")
    again = GroupedConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.filters, again.kernel_size, again.strides, again.groups, again.name) == (
        12,
        (3, 3),
        (2, 2),
        4,
        "conv2",
    )
