"""Losses and class weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from training.losses import class_weights, make_loss, weight_images


def test_balanced_weights_are_in_inverse_proportion_to_the_images():
    weights = class_weights(np.array([30, 10, 60]))
    assert weights == pytest.approx([100 / 90, 100 / 30, 100 / 180])
    assert np.dot(weights, [30, 10, 60]) == pytest.approx(100), "1 on average over the images"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([0, 1, 1]), [1, 3, 3]),
        (np.array([[0.0], [1.0], [0.5]], "float32"), [1, 3, 2]),
        (np.array([[1, 0], [0, 1], [0.25, 0.75]], "float32"), [1, 3, 2.5]),
    ],
    ids=["int", "binary", "blended"],
)
def test_an_image_has_the_weight_of_its_classes(labels, expected):
    assert weight_images(tf.constant(labels), [1.0, 3.0]).numpy() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["int", "categorical", "binary"])
def test_a_loss_without_reduction_has_one_number_for_each_image(kind):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 2)).astype("float32")
    true = rng.integers(0, 2, 5)
    labels = {"int": true, "categorical": np.eye(2, dtype="float32")[true], "binary": true[:, None] * 1.0}[
        kind
    ]
    losses = make_loss(kind, reduction=None)(labels, logits)
    expected = keras.losses.sparse_categorical_crossentropy(true, logits, from_logits=True)
    assert np.allclose(losses, expected, atol=1e-6)
    assert np.allclose(make_loss(kind)(labels, logits), np.mean(expected), atol=1e-6)
