"""The loss and the accuracy of each label format: int, categorical and binary."""

import keras
import tensorflow as tf


def make_loss(
    labels: str, label_smoothing: float = 0.0, reduction: str | None = "sum_over_batch_size"
) -> keras.losses.Loss:
    """Makes the cross-entropy from logits.

    Args:
        labels: The label format of the recipe.
        label_smoothing: The label smoothing, in [0, 1); 0 for "int".
        reduction: Keras' reduction of the losses of a batch; None for one loss of each image.
    """
    options = {"from_logits": True, "reduction": reduction}
    if labels == "categorical":
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing, **options)
    if labels == "binary":
        return BinaryLoss(label_smoothing=label_smoothing, **options)
    return keras.losses.SparseCategoricalCrossentropy(**options)


def make_accuracy(labels: str) -> keras.metrics.Metric:
    """Makes the metric "accuracy" for the label format of a recipe."""
    if labels == "categorical":
        return keras.metrics.CategoricalAccuracy("accuracy")
    if labels == "binary":
        return BinaryAccuracy("accuracy", threshold=0.0)
    return keras.metrics.SparseCategoricalAccuracy("accuracy")


class BinaryLoss(keras.losses.BinaryCrossentropy):
    """Binary cross-entropy of a network with two logits."""

    def call(self, y_true, y_pred):
        return super().call(y_true, one_logit(y_pred))


class BinaryAccuracy(keras.metrics.BinaryAccuracy):
    """Binary accuracy of a network with two logits."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(y_true, one_logit(y_pred), sample_weight)


def one_logit(logits: tf.Tensor) -> tf.Tensor:
    """The logit of the second of two classes, (batch, 1).

    The sigmoid of the difference is the softmax of the second class, so a binary network has two logits as
    any other.
    """
    return logits[:, 1:] - logits[:, :1]


def class_weights(counts) -> list[float]:
    """Weights of the classes in inverse proportion to their images, 1 on average over the images.

    This is scikit-learn's `class_weight="balanced"` (King & Zeng, 2001).

    Args:
        counts: (classes,) int, the number of training images of each class, at least 1.
    """
    total = sum(int(count) for count in counts)
    return [total / (len(counts) * int(count)) for count in counts]


def weight_images(labels: tf.Tensor, weights: list[float]) -> tf.Tensor:
    """The weight of each image, (batch,) float32; of a blended one, the mean of its classes'.

    Args:
        labels: (batch,) int, (batch, 1) float for two classes, or (batch, classes) float.
        weights: The weight of each class.
    """
    table = tf.constant(weights, tf.float32)
    if labels.shape.rank == 2 and labels.shape[1] == 1:
        labels = tf.concat([1 - labels, labels], axis=1)
    if labels.shape.rank == 2:
        return tf.linalg.matvec(tf.cast(labels, tf.float32), table)
    return tf.gather(table, labels)
