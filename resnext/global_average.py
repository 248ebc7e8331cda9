"""The average over height and width, whose gradient is one pass over the feature map in TensorFlow."""

from resnext.keras_backend import keras


@keras.saving.register_keras_serializable("resnext")
class FusedGlobalAveragePooling2D(keras.layers.GlobalAveragePooling2D):
    """`keras.layers.GlobalAveragePooling2D` that trains faster in TensorFlow.

    The gradient of Keras' layer copies the gradient of the averages to every pixel and then divides it there.
    Under mixed bfloat16, it also casts the whole feature map to float32 and back. This layer divides the
    averages' gradient first, and leaves bfloat16 as it is, because `tf.reduce_mean` sums it in float32. The
    results are those of Keras, up to rounding. Other backends, other dtypes (`tf.reduce_mean` rounds the sums
    of float16) and inputs with the channels first are left to Keras.

    Args:
        **options: everything that `keras.layers.GlobalAveragePooling2D` takes.

    Input: (batch, height, width, channels) float. Output: (batch, channels), with `keepdims` (batch, 1, 1,
        channels), in the layer's compute dtype.

    Example:
        >>> FusedGlobalAveragePooling2D()(keras.ops.ones((2, 4, 4, 8))).shape
        TensorShape([2, 8])
    """

    def call(self, inputs):
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        fused = keras.backend.backend() == "tensorflow" and self.data_format == "channels_last"
        if not fused or dtype not in ("float32", "bfloat16"):
            return super().call(inputs)
        return _mean(inputs) if self.keepdims else keras.ops.squeeze(_mean(inputs), (1, 2))


def _mean(inputs):
    import tensorflow as tf

    @tf.custom_gradient
    def mean(x):
        shape = tf.shape(x)

        def gradient(upstream):
            return tf.broadcast_to(upstream / tf.cast(shape[1] * shape[2], upstream.dtype), shape)

        return tf.reduce_mean(x, (1, 2), keepdims=True), gradient

    return mean(inputs)
