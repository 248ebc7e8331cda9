"""The Keras backend: trainable functional layers, named as timm names its modules."""

import contextlib
from collections.abc import Iterator, Sequence

from resnext.architecture import ARCHITECTURES, Architecture, build_network, find_architecture
from resnext.batch_norm import FusedBatchNormalization
from resnext.config import MAX_CLASSES, TIMM_BASE, ModelConfig, Preprocessing, unnamed_labels
from resnext.errors import ConfigError
from resnext.global_average import FusedGlobalAveragePooling2D
from resnext.grouped_conv import GroupedConv2D
from resnext.keras_backend import keras

# The defaults of PyTorch's BatchNorm2d (its momentum of 0.1 is 0.9 in Keras).
BN_MOMENTUM = 0.9
BN_EPSILON = 1e-5
STAGES = ("layer1", "layer2", "layer3", "layer4")


def build_model(
    architecture: Architecture | str,
    num_classes: int | None = None,
    *,
    label_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    features_only: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Builds the Keras model of an architecture, with random weights.

    The model carries its `ModelConfig` in the attribute `resnext_config`, which `save_pretrained` writes.

    Args:
        architecture: The network, or its name such as "resnext50_32x4d".
        num_classes: The number of classes, or 0 for pooled features instead of logits. Defaults to the number
            of `label_names`.
        label_names: The name of each class, in the order of the logits. Defaults to "class 0", "class 1", ...
        preprocessing: How an image is prepared for the network. The model normalizes images by its mean and
            standard deviation. Defaults to ImageNet's at 224 pixels.
        features_only: Whether to return the feature maps of the four stages instead of logits.
        name: The name of the Keras model. Defaults to the architecture's name.

    Returns:
        A model from `(batch, height, width, 3)` RGB pixels, float or uint8 from 0 to 255, to
        `(batch, num_classes)` float32 logits. With 0 classes, it returns `(batch, features)` float32, and
        with `features_only` a dict of `layer1` to `layer4` float32 with strides 4, 8, 16 and 32.

    Raises:
        ConfigError: The architecture is unknown, or an argument does not fit it.
    """
    if isinstance(architecture, str):
        architecture = find_architecture(architecture)
    prep = preprocessing or Preprocessing()
    labels = () if features_only else _labels(num_classes, label_names)
    config = ModelConfig(_known_name(architecture), architecture, labels, prep)
    images = keras.Input((None, None, 3), name="images")
    out = build_network(KerasOps(prep.mean, prep.std), architecture, config.num_classes, images)
    if features_only:
        outputs = {stage: _as_float32(out[stage]) for stage in STAGES}
    else:
        outputs = out.get("logits", out["pooled"])
    model = keras.Model(images, outputs, name=name or config.name)
    model.resnext_config = config
    return model


def _labels(num_classes: int | None, label_names: Sequence[str] | None) -> tuple[str, ...]:
    if num_classes is None and not label_names:
        raise ConfigError("A model needs num_classes or label_names: give one of them.")
    if num_classes is not None and not is_class_count(num_classes):
        raise ConfigError(f"num_classes must be a whole number from 0 to {MAX_CLASSES}, not {num_classes!r}.")
    if label_names is None:
        return unnamed_labels(int(num_classes or 0))
    if num_classes not in (None, len(label_names)):
        raise ConfigError(f"There are {len(label_names)} label_names, but num_classes is {num_classes}.")
    if isinstance(label_names, str):
        raise ConfigError("label_names must be a list of names, one for each class.")
    return tuple(label_names)


def is_class_count(value) -> bool:
    """Whether a value is a whole number that `num_classes` can be."""
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    return whole and 0 <= value <= MAX_CLASSES


def _known_name(architecture: Architecture) -> str:
    """timm's name of an architecture, or the one that timm derives it from by model_args."""
    return next((name for name, known in ARCHITECTURES.items() if known == architecture), TIMM_BASE)


def _as_float32(x):
    # "linear" computes nothing; the layer casts its input to its own dtype.
    return keras.layers.Activation("linear", dtype="float32")(x)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Sets Keras' dtype policy for the layers made within, such as "float32" or "mixed_bfloat16"."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class KerasOps:
    """The operations as Keras layers; see `resnext.architecture.Ops`.

    Images are channels-last, whatever a keras.json says.

    Args:
        mean: three floats in [0, 1]. The mean of the training images' channels R, G and B.
        std: three floats in [0, 1]. The standard deviation of the channels.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        self.mean = mean
        self.std = std

    def normalize(self, images: keras.KerasTensor) -> keras.KerasTensor:
        scale = [1 / (255 * std) for std in self.std]
        offset = [-mean / std for mean, std in zip(self.mean, self.std)]
        # float32 under every dtype policy: bfloat16 would round the pixels before they are centered. Three
        # dimensions keep Keras from moving the scale to the channels-first axis that a keras.json may set.
        return keras.layers.Rescaling([[scale]], offset, dtype="float32", name="normalize")(images)

    def conv_bn(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        zero_init: bool = False,
        *,
        conv: str,
        bn: str,
    ) -> keras.KerasTensor:
        x = self.conv(x, filters, kernel, stride, groups, name=conv)
        return self.batch_norm(x, zero_init, name=bn)

    def conv_bias(self, x: keras.KerasTensor, filters: int, *, name: str) -> keras.KerasTensor:
        return self.conv(x, filters, 1, bias=True, name=name)

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        *,
        name: str,
    ) -> keras.KerasTensor:
        """A convolution, padded by `kernel // 2` on every side."""
        # He et al., 2015 (arXiv:1502.01852), with fan-out as timm initializes its ResNets.
        initializer = keras.initializers.VarianceScaling(2.0, mode="fan_out")
        return GroupedConv2D(
            filters, kernel, stride, groups, use_bias=bias, kernel_initializer=initializer, name=name
        )(x)

    def batch_norm(self, x: keras.KerasTensor, zero_init: bool = False, *, name: str) -> keras.KerasTensor:
        """Batch norm, whose scale starts at 0 with `zero_init`, otherwise at 1."""
        # The last batch norm of a block starts at 0, so that the block starts as the identity
        # (Goyal et al., 2017, arXiv:1706.02677).
        gamma = "zeros" if zero_init else "ones"
        return FusedBatchNormalization(
            momentum=BN_MOMENTUM, epsilon=BN_EPSILON, gamma_initializer=gamma, name=name
        )(x)

    def relu(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        return keras.layers.ReLU(name=name)(x)

    def sigmoid(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Activation("sigmoid")(x)

    def max_pool(self, x: keras.KerasTensor, padded: bool) -> keras.KerasTensor:
        # ReLU has left nothing below 0, so padding with 0 is the same as padding with minus infinity.
        margins = 1 if padded else ((0, 1), (0, 1))
        x = keras.layers.ZeroPadding2D(margins, data_format="channels_last")(x)
        return keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="maxpool")(x)

    def average_pool(self, x: keras.KerasTensor, round_up: bool) -> keras.KerasTensor:
        # "same" leaves the padding out of the mean, as timm's count_include_pad=False with ceil_mode.
        padding = "same" if round_up else "valid"
        return keras.layers.AveragePooling2D(2, 2, padding, data_format="channels_last")(x)

    def global_pool(self, x: keras.KerasTensor, keepdims: bool = False) -> keras.KerasTensor:
        dtype = None if keepdims else "float32"
        return FusedGlobalAveragePooling2D("channels_last", keepdims, dtype=dtype)(x)

    def dense(self, x: keras.KerasTensor, units: int, *, name: str) -> keras.KerasTensor:
        return keras.layers.Dense(units, dtype="float32", name=name)(x)

    def multiply(self, x: keras.KerasTensor, y: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Multiply()([x, y])

    def add(self, x: keras.KerasTensor, y: keras.KerasTensor) -> keras.KerasTensor:
        return keras.layers.Add()([x, y])

    def drop_path(self, x: keras.KerasTensor, rate: float, *, name: str) -> keras.KerasTensor:
        # One draw for a whole image: stochastic depth (Huang et al., 2016, arXiv:1603.09382).
        return StochasticDepth(rate, noise_shape=(None, 1, 1, 1), name=name)(x)


@keras.saving.register_keras_serializable("resnext")
class StochasticDepth(keras.layers.Dropout):
    """`keras.layers.Dropout` of whole images, which draws and multiplies one number for each of them.

    The numbers are those of Keras, which compares and selects at every element.
    """

    def call(self, inputs, training=False):
        if not training:
            return inputs
        return inputs * super().call(keras.ops.ones_like(inputs[:, :1, :1, :1]), training=True)
