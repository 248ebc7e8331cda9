"""Grouped convolution for Keras that trains on every machine, and at full speed where oneDNN can."""

import functools

import keras

from resnext.errors import ConfigError

GROUPS_PER_PIECE = 4  # groups that one dense piece covers; fastest of 1, 2, 4, 8 and all on AVX-512


@keras.saving.register_keras_serializable("resnext")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with PyTorch's padding and a grouped convolution that trains on a CPU.

    Keras sends a grouped convolution on a CPU through XLA, some thirty times slower than TensorFlow's own
    kernel. This layer calls `tf.nn.conv2d` where its gradient exists (a GPU, or oneDNN for this dtype) and
    otherwise splits the work into a few dense convolutions with block-diagonal kernels: the same numbers.
    On other backends it is `keras.ops.conv`.

    Args:
        filters: output channels.
        kernel_size: height and width of the kernel, odd.
        strides: step of the kernel.
        groups: number of groups (cardinality); has to divide input channels and filters.
        **options: anything else that `keras.layers.Conv2D` takes, but padding: it is `kernel_size // 2` on
            every side, as the published weights were trained. ("same" pads otherwise at stride 2.)

    Input: (batch, height, width, channels) float. Output: (batch, ceil(height / strides), ceil(width / strides),
    filters) float.

    Raises:
        ConfigError: groups do not divide input channels or filters.

    Example:
        >>> layer = GroupedConv2D(filters=64, kernel_size=3, strides=2, groups=32)
        >>> layer(keras.ops.ones((1, 9, 9, 64))).shape
        TensorShape([1, 5, 5, 64])
    """

    def __init__(self, filters, kernel_size, strides=1, groups=1, **options):
        _check_groups("filters", filters, groups)
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding="same" if strides == 1 else "valid",
            groups=groups,
            **options,
        )

    def build(self, input_shape):
        _check_groups("input channels", input_shape[-1], self.groups)
        super().build(input_shape)

    def call(self, inputs):
        margin = self.kernel_size[0] // 2
        if self.padding == "valid" and margin:
            inputs = keras.ops.pad(inputs, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        return super().call(inputs)

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        return (
            batch,
            *(side and -(-side // stride) for side, stride in zip(size, self.strides)),
            self.filters,
        )

    def convolution_op(self, inputs, kernel):
        if self.groups == 1 or keras.backend.backend() != "tensorflow":
            return super().convolution_op(inputs, kernel)
        strides, padding = self.strides[0], self.padding.upper()
        if native_gradient(inputs.dtype.name):
            import tensorflow as tf

            return tf.nn.conv2d(inputs, kernel, strides, padding)
        return dense_pieces(inputs, kernel, strides, padding, self.groups)

    def get_config(self):
        config = super().get_config()
        del config["padding"], config["dilation_rate"], config["data_format"]
        config.update(kernel_size=self.kernel_size[0], strides=self.strides[0])
        return config


@functools.cache
def native_gradient(dtype: str) -> bool:
    """Whether `tf.nn.conv2d` has a gradient for grouped kernels on this machine in this dtype (it is tried)."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return True
    with (
        tf.init_scope()
    ):  # runs at once, even while a graph is being traced; a tape would record nothing here
        images, kernel = tf.ones((1, 4, 4, 2), dtype), tf.ones((3, 3, 1, 2), dtype)
        options = {"out_backprop": images, "strides": [1, 1, 1, 1], "padding": "SAME"}
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=images.shape, filter=kernel, **options)
            tf.raw_ops.Conv2DBackpropFilter(input=images, filter_sizes=kernel.shape, **options)
        except (tf.errors.OpError, NotImplementedError):
            return False
    return True


def dense_pieces(inputs, kernel, strides: int, padding: str, groups: int):
    """Grouped convolution as a few dense ones, each over several groups with a block-diagonal kernel.

    Args:
        inputs: (batch, height, width, channels) float.
        kernel: (kernel, kernel, channels / groups, filters) float, the filters of a group side by side.
        strides: step of the kernel.
        padding: "SAME" or "VALID".
        groups: number of groups.

    Returns:
        (batch, height, width, filters) float: what `tf.nn.conv2d` gives for the grouped kernel.
    """
    import tensorflow as tf

    per_piece = next(count for count in range(min(GROUPS_PER_PIECE, groups), 0, -1) if groups % count == 0)
    pieces, filters = groups // per_piece, kernel.shape[-1] // groups
    same_group = tf.repeat(tf.eye(per_piece, dtype=kernel.dtype), filters, axis=1)
    outputs = []
    for x, k in zip(tf.split(inputs, pieces, axis=-1), tf.split(kernel, pieces, axis=-1)):
        diagonal = k[:, :, None] * same_group[:, None]
        diagonal = tf.reshape(diagonal, (*k.shape[:2], per_piece * k.shape[2], k.shape[3]))
        outputs.append(tf.nn.conv2d(x, diagonal, strides, padding))
    return tf.concat(outputs, axis=-1)


def _check_groups(what, channels, groups):
    if groups < 1 or channels % groups:
        raise ConfigError(
            f"{groups} groups do not divide {channels} {what}: choose groups that divide both input channels and filters."
        )
