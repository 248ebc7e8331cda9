"""Grouped convolution for Keras that trains on every machine, and at full speed where oneDNN can run it."""

import functools

from resnext.errors import ConfigError
from resnext.keras_backend import keras

# The groups of one dense convolution; the fastest of 1, 2, 4, 8 and all groups on AVX-512.
GROUPS_PER_CONVOLUTION = 4
# The pixels of the largest map whose 1x1 convolution is computed as a product of matrices; the fastest of 0,
# 64, 256 and all on AVX-512, in float32 and bfloat16.
MAX_PIXELS_OF_PRODUCT = 256


@keras.saving.register_keras_serializable("resnext")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with PyTorch's padding and a grouped convolution that trains on a CPU.

    Keras sends a grouped convolution on a CPU through XLA, about thirty times slower than TensorFlow's own
    kernel. This layer calls `tf.nn.conv2d` where its gradient exists (on a GPU, or in oneDNN for this dtype).
    Elsewhere it computes the same numbers by a few dense convolutions with block-diagonal kernels. A 1x1
    convolution of a small map is a product of matrices. On other Keras backends it calls `keras.ops.conv`.

    Args:
        filters: int. The number of output channels.
        kernel_size: int or tuple of two ints. The height and width of the kernel, which must be odd.
        strides: int or tuple of two ints. The strides along height and width.
        groups: int. The number of groups (cardinality), which must divide input channels and filters.
        dilation_rate: int or tuple of two ints. The distance between neighboring places of the kernel. As in
            Keras, it must be 1 if a stride is above 1.
        **options: Any other option of `keras.layers.Conv2D`, except two. `padding` must be left out: the
            layer pads `dilation_rate * (kernel_size // 2)` on every side, as the published weights were
            trained, while "same" pads only one side at stride 2. `data_format` can only be "channels_last".

    Input shape:
        `(batch, height, width, channels)` float.

    Output shape:
        `(batch, ceil(height / stride), ceil(width / stride), filters)` float.

    Raises:
        ConfigError: An option is not supported, or the groups do not divide input channels or filters.

    Example:
        >>> layer = GroupedConv2D(filters=64, kernel_size=3, strides=2, groups=32)
        >>> layer(keras.ops.ones((1, 9, 9, 64))).shape
        TensorShape([1, 5, 5, 64])
    """

    def __init__(self, filters, kernel_size, strides=1, groups=1, dilation_rate=1, **options):
        _check_groups("filters", filters, groups)
        _check_options(options)
        # Or else Keras' own default applies, which a keras.json may have set to channels_first.
        options["data_format"] = "channels_last"
        try:
            super().__init__(
                filters, kernel_size, strides, groups=groups, dilation_rate=dilation_rate, **options
            )
        except ValueError as error:
            raise ConfigError(f"GroupedConv2D cannot be built: {error}") from None
        if not all(side % 2 for side in self.kernel_size):
            raise ConfigError(
                f"GroupedConv2D needs an odd kernel_size, not {self.kernel_size}: "
                "an even kernel has no center to pad around."
            )
        # At stride 1, "same" pads as PyTorch does, and the convolution pads faster than a separate step.
        self.padding = "same" if max(self.strides) == 1 else "valid"

    def build(self, input_shape):
        _check_groups("input channels", input_shape[-1], self.groups)
        super().build(input_shape)

    def call(self, inputs):
        margins = [rate * (side // 2) for rate, side in zip(self.dilation_rate, self.kernel_size)]
        if self.padding == "valid" and any(margins):
            inputs = keras.ops.pad(inputs, ((0, 0), *((margin, margin) for margin in margins), (0, 0)))
        return super().call(inputs)

    def compute_output_shape(self, input_shape):
        batch, *size, _ = input_shape
        size = [side and -(-side // stride) for side, stride in zip(size, self.strides)]
        return (batch, *size, self.filters)

    def convolution_op(self, inputs, kernel):
        if keras.backend.backend() != "tensorflow":
            return super().convolution_op(inputs, kernel)
        if self._is_small_product(inputs):
            return pointwise_convolution(inputs, kernel, self.strides)
        if self.groups == 1 and max(self.dilation_rate) == 1:
            return super().convolution_op(inputs, kernel)
        padding = self.padding.upper()
        if has_native_gradient(inputs.dtype.name):
            import tensorflow as tf

            return tf.nn.conv2d(inputs, kernel, self.strides, padding, dilations=self.dilation_rate)
        kernel = _dilated(kernel, self.dilation_rate)
        return block_diagonal_convolution(inputs, kernel, self.strides, padding, self.groups)

    def _is_small_product(self, inputs) -> bool:
        """Whether this is a 1x1 convolution whose gradients are faster as a product of matrices."""
        if self.groups > 1 or self.kernel_size != (1, 1) or _has_gpu():
            return False
        _, height, width, _ = self.compute_output_shape(inputs.shape)
        return bool(height and width) and height * width <= MAX_PIXELS_OF_PRODUCT

    def get_config(self):
        config = super().get_config()
        del config["padding"], config["data_format"]
        return config


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))


@functools.cache
def has_native_gradient(dtype: str) -> bool:
    """Tries whether `tf.nn.conv2d` has a gradient for grouped kernels of this dtype on this machine."""
    import tensorflow as tf

    if _has_gpu():
        return True
    # Runs at once, even while a graph is being traced; a gradient tape would record nothing here.
    with tf.init_scope():
        images = tf.ones((1, 4, 4, 2), dtype)
        kernel = tf.ones((3, 3, 1, 2), dtype)
        options = {"out_backprop": images, "strides": [1, 1, 1, 1], "padding": "SAME"}
        try:
            tf.raw_ops.Conv2DBackpropInput(input_sizes=images.shape, filter=kernel, **options)
            tf.raw_ops.Conv2DBackpropFilter(input=images, filter_sizes=kernel.shape, **options)
        except (tf.errors.OpError, NotImplementedError):
            return False
    return True


def block_diagonal_convolution(inputs, kernel, strides, padding: str, groups: int):
    """Computes a grouped convolution by a few dense ones with block-diagonal kernels.

    Args:
        inputs: Tensor of shape `(batch, height, width, channels)`, float.
        kernel: Tensor of shape `(height, width, channels / groups, filters)`, float, with the filters of a
            group side by side.
        strides: int or tuple of two ints. The strides along height and width.
        padding: "SAME" or "VALID".
        groups: The number of groups.

    Returns:
        Tensor of shape `(batch, height, width, filters)`, float: the result of `tf.nn.conv2d` for the grouped
        kernel.
    """
    import tensorflow as tf

    counts = range(min(GROUPS_PER_CONVOLUTION, groups), 0, -1)
    per_convolution = next(count for count in counts if groups % count == 0)
    convolutions = groups // per_convolution
    filters = kernel.shape[-1] // groups
    same_group = tf.repeat(tf.eye(per_convolution, dtype=kernel.dtype), filters, axis=1)
    outputs = []
    for x, k in zip(tf.split(inputs, convolutions, axis=-1), tf.split(kernel, convolutions, axis=-1)):
        diagonal = k[:, :, None] * same_group[:, None]
        diagonal = tf.reshape(diagonal, (*k.shape[:2], per_convolution * k.shape[2], k.shape[3]))
        outputs.append(tf.nn.conv2d(x, diagonal, strides, padding))
    return tf.concat(outputs, axis=-1)


def pointwise_convolution(inputs, kernel, strides):
    """Computes a 1x1 convolution as a product of two matrices.

    On small maps on a CPU, oneDNN computes its gradient by the kernel up to ten times as fast in bfloat16,
    and value and gradients up to 1.7 times as fast in float32.

    Args:
        inputs: Tensor of shape `(batch, height, width, channels)`, float.
        kernel: Tensor of shape `(1, 1, channels, filters)`, float.
        strides: Tuple of two ints. The strides along height and width.

    Returns:
        Tensor of shape `(batch, ceil(height / stride), ceil(width / stride), filters)`, float: the result of
        `tf.nn.conv2d`.
    """
    import tensorflow as tf

    if max(strides) > 1:
        # The mean of one pixel is the pixel. This gradient is faster than that of a strided slice.
        inputs = tf.nn.avg_pool2d(inputs, 1, strides, "VALID")
    channels, filters = kernel.shape[2:]
    outputs = tf.matmul(tf.reshape(inputs, (-1, channels)), tf.reshape(kernel, (channels, filters)))
    return tf.reshape(outputs, (*tf.unstack(tf.shape(inputs)[:3]), filters))


def _dilated(kernel, rates):
    """Writes dilation into the kernel as zeros: TensorFlow's own CPU kernel has no gradient for dilations."""
    import tensorflow as tf

    if max(rates) == 1:
        return kernel
    height, width, channels, filters = kernel.shape
    gaps = [[0, 0], [0, rates[0] - 1], [0, 0], [0, rates[1] - 1], [0, 0], [0, 0]]
    kernel = tf.pad(kernel[:, None, :, None], gaps)
    kernel = tf.reshape(kernel, (height * rates[0], width * rates[1], channels, filters))
    return kernel[: (height - 1) * rates[0] + 1, : (width - 1) * rates[1] + 1]


def _check_groups(what, channels, groups):
    if not isinstance(groups, int) or groups < 1 or channels % groups:
        raise ConfigError(
            f"{groups} groups do not divide {channels} {what}: "
            "choose groups that divide both input channels and filters."
        )


def _check_options(options):
    if "padding" in options:
        raise ConfigError(
            f"GroupedConv2D always pads by half the kernel: leave padding={options['padding']!r} out."
        )
    if options.get("data_format") not in (None, "channels_last"):
        raise ConfigError(
            "GroupedConv2D takes channels_last images only: "
            f"leave data_format={options['data_format']!r} out."
        )
