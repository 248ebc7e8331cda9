import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnext.batch_norm import FusedBatchNormalization

ROOT = pathlib.Path(__file__).parents[2]
SHAPES = [(8, 5, 7, 3), (2, 1, 1, 16), (1, 1, 1, 4), (4, 32, 32, 8)]
# Of values near 4: half the spacing of bfloat16 and float16 numbers. In float32, Keras' own formula loses
# digits where a batch has one pixel, whose deviation of 0 makes it multiply by 1 / sqrt(epsilon) = 316.
TOLERANCE = {"float32": 5e-5, "mixed_bfloat16": 2e-2, "mixed_float16": 2.5e-3}


def pair(**options):
    """Keras' layer and the fused one with the same random variables."""
    options = {"momentum": 0.9, "epsilon": 1e-5} | options
    return keras.layers.BatchNormalization(**options), FusedBatchNormalization(**options)


def build(layers, shape):
    rng = np.random.default_rng(0)
    values = {
        "gamma": rng.normal(1, 0.3, shape[-1]),
        "beta": rng.normal(0, 0.3, shape[-1]),
        "moving_mean": rng.normal(0, 1, shape[-1]),
        "moving_variance": rng.uniform(0.5, 2, shape[-1]),
    }
    for layer in layers:
        if not layer.built:
            layer.build(shape)
        for variable in layer.variables:
            variable.assign(values[variable.name])


def images(shape, dtype):
    return tf.cast(np.random.default_rng(1).normal(0.5, 2, shape), dtype)


def run(layer, inputs, training):
    """Outputs, gradients of inputs and variables, and moving statistics afterwards, all as float32 arrays."""
    weights = tf.cast(np.random.default_rng(2).normal(0, 1, inputs.shape), "float32")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=training)
        loss = tf.reduce_sum(weights * tf.cast(outputs, "float32"))
    trainable = [variable.value for variable in layer.trainable_variables]
    gradients = tape.gradient(loss, [inputs, *trainable])
    state = [outputs, *gradients, layer.moving_mean.value, layer.moving_variance.value]
    return outputs.dtype, [np.asarray(tf.cast(value, "float32")) for value in state]


def uses_the_fused_operation(layer, inputs, training=True):
    graph = tf.function(lambda x: layer(x, training=training)).get_concrete_function(inputs).graph
    return any(operation.type == "FusedBatchNormV3" for operation in graph.get_operations())


def assert_equal_to_keras(policy, shape, training, **options):
    theirs, ours = pair(dtype=policy, **options)
    build((theirs, ours), shape)
    inputs = images(shape, theirs.compute_dtype)
    assert uses_the_fused_operation(ours, inputs, training)
    (dtype, expected), (our_dtype, found) = (run(layer, inputs, training) for layer in (theirs, ours))
    assert our_dtype == dtype
    for one, other in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(other).max()))
        assert np.abs(one - other).max() <= TOLERANCE[policy] * scale


@pytest.mark.parametrize("policy", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_values_gradients_and_statistics_are_those_of_keras(policy, shape, training):
    assert_equal_to_keras(policy, shape, training)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}, {"scale": False, "center": False}])
def test_layers_without_scale_or_offset_are_those_of_keras(options):
    assert_equal_to_keras("float32", SHAPES[0], True, **options)


@pytest.mark.parametrize("policy", TOLERANCE)
def test_a_frozen_layer_normalizes_by_its_statistics_and_keeps_them(policy):
    theirs, ours = pair(dtype=policy)
    build((theirs, ours), SHAPES[0])
    theirs.trainable = ours.trainable = False
    inputs = images(SHAPES[0], theirs.compute_dtype)
    before = ours.moving_mean.numpy(), ours.moving_variance.numpy()
    expected, found = (
        np.asarray(tf.cast(layer(inputs, training=True), "float32")) for layer in (theirs, ours)
    )
    assert np.abs(found - expected).max() <= TOLERANCE[policy] * 4
    assert np.array_equal(before, (ours.moving_mean.numpy(), ours.moving_variance.numpy()))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"synchronized": True}, SHAPES[0]),
        ({"renorm": True}, SHAPES[0]),
        ({"epsilon": 1e-6}, SHAPES[0]),
        ({"dtype": "float64"}, SHAPES[0]),
        ({"axis": 1}, SHAPES[0]),
        ({}, (6, 5)),
        ({}, (2, 3, 4, 5, 6)),
    ],
)
def test_what_the_operation_cannot_do_is_left_to_keras(options, shape):
    theirs, ours = pair(**options)
    inputs = images(shape, theirs.compute_dtype)
    expected = theirs(inputs, training=True)
    assert np.array_equal(ours(inputs, training=True), expected)
    assert not uses_the_fused_operation(ours, inputs)


def test_a_mask_is_left_to_keras():
    theirs, ours = pair()
    inputs = images((4, 3, 3, 2), "float32")
    mask = tf.constant(np.random.default_rng(3).uniform(size=(4, 3, 3)) > 0.5)
    expected = theirs(inputs, training=True, mask=mask)
    assert np.array_equal(ours(inputs, training=True, mask=mask), expected)


def test_a_model_with_the_layer_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, FusedBatchNormalization(epsilon=1e-5, name="bn")(inputs))
    build((model.get_layer("bn"),), (None, 4, 4, 3))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.get_layer("bn"), FusedBatchNormalization)
    pixels = images((2, 4, 4, 3), "float32")
    assert np.array_equal(again(pixels), model(pixels))


def test_training_a_model_gives_the_losses_and_weights_of_keras():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(32, 8, 8, 3)).astype("float32"), rng.integers(0, 3, 32)
    histories, weights = [], []
    for layer in pair():
        keras.utils.set_random_seed(0)
        stack = [keras.layers.Conv2D(4, 3), layer, keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D()]
        model = keras.Sequential([keras.Input((8, 8, 3)), *stack, keras.layers.Dense(3)])
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        histories.append(model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"])
        weights.append(model.get_weights())
    assert np.allclose(*histories, atol=1e-5)
    for theirs, ours in zip(*weights, strict=True):
        assert np.allclose(theirs, ours, atol=1e-4)


@pytest.mark.slow
def test_values_hold_where_onednn_is_off():
    environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}
    tests = f"{__file__}::test_values_gradients_and_statistics_are_those_of_keras"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_other_backends_use_keras_own():
    program = """
import numpy as np, keras
from resnext.batch_norm import FusedBatchNormalization
x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
theirs, ours = keras.layers.BatchNormalization(), FusedBatchNormalization()
print(np.array_equal(theirs(x, training=True), ours(x, training=True)))
"""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout.split()[-1:] == ["True"], result.stderr
