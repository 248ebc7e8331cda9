import keras
import numpy as np
import pytest
import tensorflow as tf

from resnext.global_average import FusedGlobalAveragePooling2D

# Half the spacing of the numbers of each dtype between 2 and 4.
TOLERANCE = {"float32": 1e-6, "mixed_bfloat16": 8e-3, "mixed_float16": 1e-3}


def run(layer, inputs):
    """The output of a layer, and the gradient of its inputs, as float32 arrays, and both dtypes."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)
        weights = tf.cast(np.random.default_rng(2).normal(0, 1, outputs.shape), "float32")
        loss = tf.reduce_sum(weights * tf.cast(outputs, "float32"))
    values = (outputs, tape.gradient(loss, inputs))
    return [value.dtype for value in values], [np.asarray(tf.cast(value, "float32")) for value in values]


def operations(layer, inputs):
    """The types of the TensorFlow operations of a step whose result is as large as the feature map."""
    graph = tf.function(lambda x: tf.gradients(layer(x), x)).get_concrete_function(inputs).graph
    return {
        operation.type
        for operation in graph.get_operations()
        if any(output.shape == inputs.shape for output in operation.outputs)
    }


@pytest.mark.parametrize("policy", TOLERANCE)
@pytest.mark.parametrize("shape", [(8, 5, 7, 3), (2, 1, 1, 16), (4, 56, 56, 8)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_values_and_gradients_are_those_of_keras(policy, shape, keepdims):
    layers = [
        kind("channels_last", keepdims, dtype=policy)
        for kind in (keras.layers.GlobalAveragePooling2D, FusedGlobalAveragePooling2D)
    ]
    inputs = tf.cast(np.random.default_rng(1).normal(2.5, 1, shape), layers[0].compute_dtype)
    (dtypes, expected), (our_dtypes, found) = (run(layer, inputs) for layer in layers)
    assert our_dtypes == dtypes
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() <= TOLERANCE[policy]


def test_the_feature_map_is_neither_cast_nor_divided():
    inputs = tf.ones((2, 4, 4, 8), tf.bfloat16)
    layer = FusedGlobalAveragePooling2D("channels_last", True, dtype="mixed_bfloat16")
    theirs = keras.layers.GlobalAveragePooling2D("channels_last", True, dtype="mixed_bfloat16")
    passes = {"BroadcastTo", "Cast", "RealDiv", "Tile"}
    assert operations(layer, inputs) & passes == {"BroadcastTo"}
    assert operations(theirs, inputs) & passes >= {"Cast", "RealDiv"}


def test_channels_first_and_other_dtypes_are_left_to_keras():
    for options, dtype in (({"data_format": "channels_first"}, "float32"), ({}, "float64")):
        inputs = tf.cast(np.random.default_rng(1).normal(2.5, 1, (2, 3, 4, 5)), dtype)
        theirs = keras.layers.GlobalAveragePooling2D(dtype=dtype, **options)
        assert np.array_equal(FusedGlobalAveragePooling2D(dtype=dtype, **options)(inputs), theirs(inputs))


def test_a_saved_model_opens_with_the_same_layer(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, FusedGlobalAveragePooling2D("channels_last", True)(inputs))
    model.save(tmp_path / "model.keras")
    layer = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert isinstance(layer, FusedGlobalAveragePooling2D)
    assert layer.keepdims
