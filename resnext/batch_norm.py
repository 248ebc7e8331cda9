"""Batch normalization for Keras that runs as one fused TensorFlow operation."""

from resnext.keras_backend import keras

_FUSED_DTYPES = ("float32", "bfloat16", "float16")
_MIN_EPSILON = 1e-5  # cuDNN refuses a smaller one (CUDNN_BN_MIN_EPSILON)


@keras.saving.register_keras_serializable("resnext")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, computed by TensorFlow's fused operation where there is one.

    Keras computes the moments of a batch first and normalizes with them in a second pass, and under a mixed
    precision policy it casts every activation to float32 and back. `tf.raw_ops.FusedBatchNormV3` does all of
    it in one operation, on 16-bit activations as well. Variables, their names and the results are those of
    Keras, up to rounding. Whatever the operation cannot do is left to Keras: other backends,
    `synchronized=True`, `renorm=True`, masks, inputs that are not images with the channels last, float64, and
    an epsilon below 1e-5.

    Args:
        **options: everything that `keras.layers.BatchNormalization` takes.

    Input: (batch, height, width, channels) float. Output: the same shape, in the layer's compute dtype.

    Example:
        >>> layer = FusedBatchNormalization(epsilon=1e-5)
        >>> layer(keras.ops.ones((2, 4, 4, 8)), training=True).shape
        TensorShape([2, 4, 4, 8])
    """

    def call(self, inputs, training=None, mask=None):
        if mask is not None or not self._is_fused(inputs):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        use_batch_statistics = bool(training and self.trainable)
        channels = inputs.shape[-1]
        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(channels)
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros(channels)
        # In training, the operation ignores the mean and variance that it is given.
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=scale,
            offset=offset,
            mean=tf.convert_to_tensor(self.moving_mean),
            variance=tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=use_batch_statistics,
        )
        if use_batch_statistics:
            self._update_moving_statistics(mean, variance * _biased(tf.shape(inputs)))
        return outputs

    def _update_moving_statistics(self, mean, variance):
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))

    def _is_fused(self, inputs) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and inputs.shape[-1] is not None
            and keras.backend.standardize_dtype(inputs.dtype) in _FUSED_DTYPES
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
            and self.variable_dtype == "float32"
            and self.epsilon >= _MIN_EPSILON
            and not self.synchronized
            and not self.renorm
        )


def _biased(shape):
    """The factor from the operation's variance, with Bessel's correction, to the biased variance of Keras."""
    import tensorflow as tf

    count = tf.cast(tf.reduce_prod(shape[:3]), tf.float32)
    return tf.maximum(count - 1, 1) / tf.maximum(count, 1)
