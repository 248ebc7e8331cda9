"""The network, described once: a residual network of bottleneck blocks with grouped 3x3 convolutions.

ResNeXt is "Aggregated Residual Transformations for Deep Neural Networks" (Xie et al., 2017,
arXiv:1611.05431). `build_network` walks an architecture and calls a small interface, `Ops`. Each backend
implements it: Keras layers for training (`keras_model`), OpenVINO nodes for serving (`openvino_graph`) and
shapes only (`shapes`). Modules are named as timm names them.
"""

import dataclasses
import difflib
import re
from typing import Protocol, TypeVar

from resnext.errors import ConfigError

STEM_TYPES = ("", "deep", "deep_tiered")
ATTENTION = (None, "se")
ANTI_ALIASING = (None, "avg")
# A block's output channels divided by its planes (He et al., 2016, arXiv:1512.03385, section 4.1).
EXPANSION = 4
# Limits far beyond any published network, which keep a hostile config.json from exhausting the memory.
_MAX_LAYERS = 1000
_MAX_CHANNELS = 65536


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The structure of a network, in the words of timm's `ResNet` arguments.

    Args:
        layers: four ints. The number of residual blocks in each stage.
        cardinality: The number of groups of the 3x3 convolutions (C in the paper). 1 gives a plain ResNet.
        base_width: The bottleneck width of one group (d in the paper) in a stage of 64 planes.
        channels: four ints. The planes of each stage, which has four times as many output channels.
        stem_type: `""` for one 7x7 convolution, `"deep"` for three 3x3 convolutions, or `"deep_tiered"` for
            three 3x3 convolutions of growing width.
        stem_width: The number of channels of a deep stem's first convolution.
        avg_down: Whether a shortcut that changes the size pools 2x2 averages before its 1x1 convolution. This
            is the "d" variant (He et al., 2019, arXiv:1812.01187).
        attn_layer: `"se"` for squeeze-and-excitation after the last convolution of each block, or None.
        aa_layer: `"avg"` for anti-aliasing, or None. Every stride of 2, except in the stem and the shortcuts,
            then becomes a stride of 1 followed by 2x2 average pooling, and the height and width of the images
            must be multiples of 32.
        legacy: Whether this is timm's older SENet class (`legacy_seresnext50_32x4d`, ...). It is the same
            network with other module names and with a max pooling that pads on one side only, as in Caffe.
        drop_path_rate: float in [0, 1). The rate of stochastic depth in the last block during training. It
            grows linearly from 0 in the first block.

    Raises:
        ConfigError: A value is out of range, or the stages would be too wide or too deep.
    """

    layers: tuple[int, ...] = (3, 4, 6, 3)
    cardinality: int = 1
    base_width: int = 64
    channels: tuple[int, ...] = (64, 128, 256, 512)
    stem_type: str = ""
    stem_width: int = 64
    avg_down: bool = False
    attn_layer: str | None = None
    aa_layer: str | None = None
    legacy: bool = False
    drop_path_rate: float = 0.0

    def __post_init__(self):
        _check_counts(self)
        _check_choices(self)
        _check_widths(self)

    def bottleneck_width(self, planes: int) -> int:
        """The channels of the 3x3 convolutions of a stage, over all groups (timm's formula)."""
        return int(planes * (self.base_width / 64)) * self.cardinality

    def drop_path_rates(self) -> list[float]:
        """The rate of stochastic depth of every block, from the first to the last (Huang et al., 2016)."""
        blocks = sum(self.layers)
        return [self.drop_path_rate * block / max(blocks - 1, 1) for block in range(blocks)]

    @property
    def stem_channels(self) -> int:
        """The number of channels that the stem puts out."""
        return 2 * self.stem_width if self.stem_type else 64

    @property
    def features(self) -> int:
        """The number of channels of the last feature map."""
        return self.channels[-1] * EXPANSION

    @property
    def first_conv(self) -> str:
        """timm's name of the first convolution."""
        return ("layer0." if self.legacy else "") + ("conv1.0" if self.stem_type else "conv1")

    @property
    def classifier(self) -> str:
        """timm's name of the classifier, a dense layer."""
        return "last_linear" if self.legacy else "fc"


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_counts(architecture: Architecture) -> None:
    for field in ("layers", "channels"):
        values = getattr(architecture, field)
        if not isinstance(values, tuple) or not all(_is_count(value) for value in values):
            raise ConfigError(f"{field} must be a list of whole numbers above 0, not {values!r}.")
        if len(values) != 4:
            raise ConfigError(f"A network has four stages, but {field} is {values}.")
    for field in ("cardinality", "base_width", "stem_width"):
        value = getattr(architecture, field)
        if not _is_count(value):
            raise ConfigError(f"{field} must be a whole number above 0, not {value!r}.")


def _check_choices(architecture: Architecture) -> None:
    choices = {"stem_type": STEM_TYPES, "attn_layer": ATTENTION, "aa_layer": ANTI_ALIASING}
    for field, known in choices.items():
        value = getattr(architecture, field)
        if value not in known:
            raise ConfigError(f"Unknown {field} {value!r}: choose one of {', '.join(map(repr, known))}.")
    for field in ("avg_down", "legacy"):
        value = getattr(architecture, field)
        if not isinstance(value, bool):
            raise ConfigError(f"{field} must be true or false, not {value!r}.")
    rate = architecture.drop_path_rate
    if not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise ConfigError(f"drop_path_rate must be a number from 0 to below 1, not {rate!r}.")


def _check_widths(architecture: Architecture) -> None:
    stem_width = architecture.stem_width
    if architecture.stem_type == "deep_tiered" and stem_width < 4:
        raise ConfigError(f"A deep_tiered stem needs a stem_width of 4 or more, not {stem_width}.")
    counts = (*architecture.channels, architecture.cardinality, architecture.base_width, stem_width)
    if max(counts) > _MAX_CHANNELS:
        raise ConfigError(
            f"channels, cardinality, base_width and stem_width must not exceed {_MAX_CHANNELS}: choose less."
        )
    widths = [architecture.bottleneck_width(planes) for planes in architecture.channels]
    if min(widths) < 1 or max(widths) > _MAX_CHANNELS:
        raise ConfigError(
            f"The stages would have {widths} bottleneck channels: each must have 1 to {_MAX_CHANNELS}."
        )
    blocks = sum(architecture.layers)
    if blocks > _MAX_LAYERS:
        raise ConfigError(f"{blocks} residual blocks are more than the {_MAX_LAYERS} allowed.")


def _with_deep_stem(base: Architecture, stem_type: str = "deep", stem_width: int = 32) -> Architecture:
    """The "d" or "t" variant of a network (He et al., 2019, arXiv:1812.01187)."""
    return dataclasses.replace(base, stem_type=stem_type, stem_width=stem_width, avg_down=True)


_26 = (2, 2, 2, 2)
_50 = (3, 4, 6, 3)
_101 = (3, 4, 23, 3)
_152 = (3, 8, 36, 3)
ARCHITECTURES = {
    "resnet26": Architecture(_26),
    "resnet26d": _with_deep_stem(Architecture(_26)),
    "resnet50": Architecture(_50),
    "resnet50c": Architecture(_50, stem_type="deep", stem_width=32),
    "resnet50d": _with_deep_stem(Architecture(_50)),
    "resnet101": Architecture(_101),
    "resnet101c": Architecture(_101, stem_type="deep", stem_width=32),
    "resnet101d": _with_deep_stem(Architecture(_101)),
    "resnet152": Architecture(_152),
    "resnet152c": Architecture(_152, stem_type="deep", stem_width=32),
    "resnet152d": _with_deep_stem(Architecture(_152)),
    "wide_resnet50_2": Architecture(_50, base_width=128),
    "resnext50_32x4d": Architecture(_50, 32, 4),
    "resnext50d_32x4d": _with_deep_stem(Architecture(_50, 32, 4)),
    "resnext101_32x4d": Architecture(_101, 32, 4),
    "resnext101_32x8d": Architecture(_101, 32, 8),
    "resnext101_32x16d": Architecture(_101, 32, 16),
    "resnext101_32x32d": Architecture(_101, 32, 32),
    "resnext101_64x4d": Architecture(_101, 64, 4),
    "seresnext26d_32x4d": _with_deep_stem(Architecture(_26, 32, 4, attn_layer="se")),
    "seresnext26t_32x4d": _with_deep_stem(Architecture(_26, 32, 4, attn_layer="se"), "deep_tiered"),
    "seresnext50_32x4d": Architecture(_50, 32, 4, attn_layer="se"),
    "seresnext101_32x4d": Architecture(_101, 32, 4, attn_layer="se"),
    "seresnext101_32x8d": Architecture(_101, 32, 8, attn_layer="se"),
    "seresnext101_64x4d": Architecture(_101, 64, 4, attn_layer="se"),
    "seresnext101d_32x8d": _with_deep_stem(Architecture(_101, 32, 8, attn_layer="se")),
    "seresnextaa101d_32x8d": _with_deep_stem(Architecture(_101, 32, 8, attn_layer="se", aa_layer="avg")),
    "seresnextaa201d_32x8d": _with_deep_stem(
        Architecture((3, 24, 36, 4), 32, 8, attn_layer="se", aa_layer="avg"), stem_width=64
    ),
    "legacy_seresnext26_32x4d": Architecture(_26, 32, 4, attn_layer="se", legacy=True),
    "legacy_seresnext50_32x4d": Architecture(_50, 32, 4, attn_layer="se", legacy=True),
    "legacy_seresnext101_32x4d": Architecture(_101, 32, 4, attn_layer="se", legacy=True),
    # This project's own, for small data sets: narrow, and regularized by stochastic depth.
    "resnext26_small": Architecture(
        layers=_26,
        cardinality=8,
        base_width=16,
        channels=(32, 64, 128, 256),
        stem_type="deep",
        stem_width=16,
        avg_down=True,
        attn_layer="se",
        drop_path_rate=0.1,
    ),
}


# timm's names of networks that look like those above, but are built of other parts.
_OTHER_NETWORKS = {
    r"resnet(10|14|18|34)[a-z]*|.*resnet(10|14|18|34)": "has basic blocks, not bottlenecks",
    r".*_gn": "has group norm, not batch norm",
    r"(se|gc|eca|bat_)?resnext26ts": "has SiLU and groups of fixed width",
    r"eca.*|sk.*|gc.*": "has another kind of attention",
    r"resnetv2.*|resnetrs.*|resnetaa.*|resnetblur.*": "has blocks of another form",
}


def find_architecture(name: str) -> Architecture:
    """Returns the architecture of that name.

    Raises:
        ConfigError: The name is unknown. The message says why, or proposes the nearest known name.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    for pattern, reason in _OTHER_NETWORKS.items():
        if re.fullmatch(pattern, str(name)):
            raise ConfigError(
                f"{name} {reason}, which this project does not build: known are {', '.join(ARCHITECTURES)}."
            )
    near = difflib.get_close_matches(str(name)[:80], ARCHITECTURES, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(ARCHITECTURES)}."
    raise ConfigError(f"Unknown architecture {str(name)[:80]!r}: {hint}")


Tensor = TypeVar("Tensor")


# Prefixes of older names in timm, which said who trained the network, and endings of Gluon's names.
_OLDER_PREFIX = re.compile(r"(swsl|ssl|ig|tv|gluon)_")
_OLDER_NAMES = {"seresnext26tn_32x4d": "seresnext26t_32x4d"}


def current_name(name: str) -> tuple[str, str]:
    """Returns timm's name of an architecture today, and the tag that followed it.

    Args:
        name: The name in any form that timm reads, such as "resnext50_32x4d.a1h_in1k" (with a tag),
            "swsl_resnext50_32x4d" or "gluon_resnet50_v1d" (older).
    """
    name, _, tag = name.partition(".")
    plain = _OLDER_PREFIX.sub("", name, count=1)
    if plain != name:
        plain = re.sub(r"_v1([bcd])$", lambda found: found[1].removeprefix("b"), plain)
    return _OLDER_NAMES.get(plain, plain), tag


class Ops(Protocol[Tensor]):
    """The operations that a backend provides. `Tensor` is its own type of a batch of feature maps."""

    def normalize(self, images: Tensor) -> Tensor:
        """Maps RGB pixels from 0 to 255 to the range that the network was trained on."""

    def conv_bn(
        self,
        x: Tensor,
        filters: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        zero_init: bool = False,
        *,
        conv: str,
        bn: str,
    ) -> Tensor:
        """A convolution without bias, padded by `kernel // 2` on every side, and its batch norm.

        `conv` and `bn` are their names. `zero_init` starts the batch norm's scale at 0 instead of 1.
        """

    def conv_bias(self, x: Tensor, filters: int, *, name: str) -> Tensor:
        """A 1x1 convolution with bias."""

    def relu(self, x: Tensor, *, name: str) -> Tensor: ...

    def sigmoid(self, x: Tensor) -> Tensor: ...

    def max_pool(self, x: Tensor, padded: bool) -> Tensor:
        """3x3 max pooling with stride 2, padded by 1 on every side, or only as the last window needs it."""

    def average_pool(self, x: Tensor, round_up: bool) -> Tensor:
        """2x2 average pooling with stride 2. `round_up` keeps the last row and column of odd sides."""

    def global_pool(self, x: Tensor, keepdims: bool = False) -> Tensor:
        """The mean over height and width."""

    def dense(self, x: Tensor, units: int, *, name: str) -> Tensor: ...

    def multiply(self, x: Tensor, y: Tensor) -> Tensor: ...

    def add(self, x: Tensor, y: Tensor) -> Tensor: ...

    def drop_path(self, x: Tensor, rate: float, *, name: str) -> Tensor:
        """Stochastic depth: during training, drops a whole image's branch with probability `rate`."""


def build_network(
    ops: Ops[Tensor], architecture: Architecture, num_classes: int, images: Tensor
) -> dict[str, Tensor]:
    """Builds the network from images to logits.

    Args:
        ops: The backend.
        architecture: The network to build.
        num_classes: The number of classes, or 0 for a network without a classifier.
        images: The backend's input tensor, `(batch, height, width, 3)` RGB pixels from 0 to 255.

    Returns:
        Tensors by name: `stem` and `layer1` to `layer4` (feature maps with strides 2, 4, 8, 16 and 32),
        `pooled` `(batch, features)`, and `logits` `(batch, num_classes)` unless `num_classes` is 0.
    """
    x = _stem(ops, architecture, ops.normalize(images))
    out = {"stem": x}
    if architecture.aa_layer:
        x = ops.average_pool(x, round_up=False)
    else:
        x = ops.max_pool(x, padded=not architecture.legacy)
    in_channels = architecture.stem_channels
    drop_rates = architecture.drop_path_rates()
    for number, (depth, planes) in enumerate(zip(architecture.layers, architecture.channels), start=1):
        stride = 1 if number == 1 else 2
        rates = drop_rates[:depth]
        x = _stage(ops, architecture, x, in_channels, planes, stride, rates, f"layer{number}")
        out[f"layer{number}"] = x
        in_channels = planes * EXPANSION
        drop_rates = drop_rates[depth:]
    out["pooled"] = ops.global_pool(x)
    if num_classes:
        out["logits"] = ops.dense(out["pooled"], num_classes, name=architecture.classifier)
    return out


def _stem(ops: Ops[Tensor], architecture: Architecture, x: Tensor) -> Tensor:
    """One 7x7 convolution, or three 3x3 convolutions, to half the images' height and width."""
    prefix = "layer0." if architecture.legacy else ""
    if architecture.stem_type:
        width = architecture.stem_width
        first = 3 * (width // 4) if architecture.stem_type == "deep_tiered" else width
        x = ops.conv_bn(x, first, 3, 2, conv=f"{prefix}conv1.0", bn=f"{prefix}conv1.1")
        x = ops.relu(x, name=f"{prefix}conv1.2")
        x = ops.conv_bn(x, width, 3, conv=f"{prefix}conv1.3", bn=f"{prefix}conv1.4")
        x = ops.relu(x, name=f"{prefix}conv1.5")
        x = ops.conv_bn(x, 2 * width, 3, conv=f"{prefix}conv1.6", bn=f"{prefix}bn1")
    else:
        x = ops.conv_bn(x, 64, 7, 2, conv=f"{prefix}conv1", bn=f"{prefix}bn1")
    return ops.relu(x, name=f"{prefix}act1")


def _stage(
    ops: Ops[Tensor],
    architecture: Architecture,
    x: Tensor,
    in_channels: int,
    planes: int,
    stride: int,
    drop_rates: list[float],
    name: str,
) -> Tensor:
    """A row of residual blocks, one for each drop rate. The first one applies the stride."""
    for index, drop_rate in enumerate(drop_rates):
        project = index == 0 and (stride != 1 or in_channels != planes * EXPANSION)
        block_stride = stride if index == 0 else 1
        x = _block(ops, architecture, x, planes, block_stride, project, drop_rate, f"{name}.{index}")
    return x


def _block(
    ops: Ops[Tensor],
    architecture: Architecture,
    x: Tensor,
    planes: int,
    stride: int,
    project: bool,
    drop_rate: float,
    name: str,
) -> Tensor:
    """The bottleneck block of the paper's Figure 3(c): 1x1, grouped 3x3, 1x1, and the shortcut added."""
    width = architecture.bottleneck_width(planes)
    filters = planes * EXPANSION
    blur = stride == 2 and architecture.aa_layer is not None
    y = ops.conv_bn(x, width, 1, conv=f"{name}.conv1", bn=f"{name}.bn1")
    y = ops.relu(y, name=f"{name}.act1")
    y = ops.conv_bn(
        y, width, 3, 1 if blur else stride, architecture.cardinality, conv=f"{name}.conv2", bn=f"{name}.bn2"
    )
    y = ops.relu(y, name=f"{name}.act2")
    if blur:
        y = ops.average_pool(y, round_up=False)
    y = ops.conv_bn(y, filters, 1, zero_init=True, conv=f"{name}.conv3", bn=f"{name}.bn3")
    if architecture.attn_layer == "se":
        y = _squeeze_excite(ops, y, filters, f"{name}.se_module" if architecture.legacy else f"{name}.se")
    if drop_rate:
        y = ops.drop_path(y, drop_rate, name=f"{name}.drop_path")
    if project:
        x = _shortcut(ops, architecture, x, filters, stride, f"{name}.downsample")
    return ops.relu(ops.add(x, y), name=f"{name}.act3")


def _shortcut(
    ops: Ops[Tensor], architecture: Architecture, x: Tensor, filters: int, stride: int, name: str
) -> Tensor:
    """A projection to the block's output shape (option B in He et al., 2016, arXiv:1512.03385)."""
    if not architecture.avg_down:
        return ops.conv_bn(x, filters, 1, stride, conv=f"{name}.0", bn=f"{name}.1")
    if stride == 2:
        x = ops.average_pool(x, round_up=True)
    return ops.conv_bn(x, filters, 1, conv=f"{name}.1", bn=f"{name}.2")


def _squeeze_excite(ops: Ops[Tensor], x: Tensor, channels: int, name: str) -> Tensor:
    """Squeeze-and-excitation (Hu et al., 2018, arXiv:1709.01507). timm reduces to a multiple of 8."""
    reduced = max(8, int(channels / 16 + 4) // 8 * 8)
    y = ops.global_pool(x, keepdims=True)
    y = ops.relu(ops.conv_bias(y, reduced, name=f"{name}.fc1"), name=f"{name}.act")
    return ops.multiply(x, ops.sigmoid(ops.conv_bias(y, channels, name=f"{name}.fc2")))
