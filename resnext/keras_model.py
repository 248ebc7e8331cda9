"""The network's trainable reading: functional Keras layers, named as timm names its modules."""

import contextlib
from collections.abc import Iterator

import keras

from resnext.architecture import Architecture, build_network
from resnext.batch_norm import FusedBatchNormalization
from resnext.grouped_conv import GroupedConv2D

BN_MOMENTUM, BN_EPSILON = 0.9, 1e-5  # PyTorch's BatchNorm2d defaults (its momentum of 0.1 is Keras' 0.9)


def build_model(
    architecture: Architecture,
    num_classes: int,
    *,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    features_only: bool = False,
    name: str = "resnext",
) -> keras.Model:
    """Builds the Keras model of an architecture, with random weights.

    Args:
        architecture: what to build.
        num_classes: width of the classifier; 0 gives pooled features instead of logits.
        mean, std: of the training images' channels, in [0, 1]; the model normalises by them.
        features_only: return the maps of the four stages instead.
        name: the model's name.

    Returns:
        A model from (batch, height, width, 3) RGB pixels, float or uint8 from 0 to 255, to (batch, num_classes)
        float32 logits, or (batch, features) float32, or a dict of `layer1` to `layer4` with strides 4, 8, 16, 32.
    """
    images = keras.Input((None, None, 3), name="images")
    out = build_network(KerasOps(mean, std), architecture, 0 if features_only else num_classes, images)
    if features_only:
        outputs = {stage: out[stage] for stage in ("layer1", "layer2", "layer3", "layer4")}
    else:
        outputs = out.get("logits", out["pooled"])
    return keras.Model(images, outputs, name=name)


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers made within have this policy: "float32", "mixed_bfloat16" or "mixed_float16"."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class KerasOps:
    """The network's operations as Keras layers; see `resnext.architecture.Ops`."""

    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def normalize(self, images):
        # float32 under every precision policy: bfloat16 would round pixels before they are centred.
        return keras.layers.Rescaling(
            [1 / (255 * s) for s in self.std],
            [-m / s for m, s in zip(self.mean, self.std)],
            dtype="float32",
            name="normalize",
        )(images)

    def conv(self, x, filters, kernel, stride=1, groups=1, bias=False, *, name):
        # He et al., 2015 (fan-out, as timm initialises its ResNets).
        initializer = keras.initializers.VarianceScaling(2.0, mode="fan_out")
        return GroupedConv2D(
            filters, kernel, stride, groups, use_bias=bias, kernel_initializer=initializer, name=name
        )(x)

    def batch_norm(self, x, *, name, zero=False):
        # The last BN of a residual unit starts at 0, so that the unit starts as the identity (Goyal et al., 2017).
        return FusedBatchNormalization(
            momentum=BN_MOMENTUM, epsilon=BN_EPSILON, gamma_initializer="zeros" if zero else "ones", name=name
        )(x)

    def relu(self, x, *, name):
        return keras.layers.ReLU(name=name)(x)

    def sigmoid(self, x):
        return keras.layers.Activation("sigmoid")(x)

    def max_pool(self, x, padded):
        # ReLU has left nothing below 0, so padding with 0 is the same as padding with minus infinity.
        x = keras.layers.ZeroPadding2D(1 if padded else ((0, 1), (0, 1)))(x)
        return keras.layers.MaxPooling2D(3, 2, name="maxpool")(x)

    def average_pool(self, x, round_up):
        # "same" leaves the padding out of the mean, as timm's count_include_pad=False with ceil_mode.
        return keras.layers.AveragePooling2D(2, 2, padding="same" if round_up else "valid")(x)

    def global_pool(self, x, keepdims=False):
        dtype = None if keepdims else "float32"
        return keras.layers.GlobalAveragePooling2D(keepdims=keepdims, dtype=dtype)(x)

    def dense(self, x, units, *, name):
        return keras.layers.Dense(units, dtype="float32", name=name)(x)

    def multiply(self, x, y):
        return keras.layers.Multiply()([x, y])

    def add(self, x, y):
        return keras.layers.Add()([x, y])

    def drop_path(self, x, rate, *, name):
        # One draw for a whole image: stochastic depth (Huang et al., 2016).
        return keras.layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name)(x)
