"""The network, described once: a residual network of bottleneck blocks with grouped 3x3 convolutions.

ResNeXt is "Aggregated Residual Transformations for Deep Neural Networks" (Xie et al., 2017, arXiv:1611.05431).
`resnext` walks the architecture and calls a small interface, `Ops`; each reading of the network implements it
(`keras_model` for training, `openvino_graph` for serving). Modules are named as timm names them.
"""

import dataclasses
import difflib
from typing import Any, Protocol

from resnext.errors import ConfigError

STEM_TYPES = ("", "deep", "deep_tiered")
ATTENTION = (None, "se")
ANTI_ALIASING = (None, "avg")
EXPANSION = 4  # output channels of a bottleneck block, over its planes (He et al., 2016, section 4.1)
_MAX_LAYERS, _MAX_CHANNELS = (
    1000,
    65536,
)  # far beyond any published net; keeps a hostile config.json from eating memory


def _is_count(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a network looks like, in the words of timm's `ResNet` arguments.

    Args:
        layers: residual units in each stage.
        cardinality: number of groups of the 3x3 convolutions (C in the paper); 1 gives a plain ResNet.
        base_width: bottleneck width of one group (d in the paper) in a stage of 64 planes.
        channels: planes of each stage; a stage puts out four times as many channels.
        stem_type: "" for one 7x7 convolution, "deep" for three 3x3 ones, "deep_tiered" for three of growing width.
        stem_width: channels of the stem's first convolution (deep stems).
        avg_down: shortcut by 2x2 average pooling before a 1x1 convolution, the "d" variant (arXiv:1812.01187).
        attn_layer: None, or "se" for squeeze-and-excitation after the last convolution of each unit.
        aa_layer: None, or "avg" for anti-aliasing: every stride of 2 but the stem's and the shortcuts' is a stride of 1 and then
            2x2 average pooling. Images have to be a multiple of 32 high and wide then.
        legacy: timm's older SENet class (`legacy_seresnext50_32x4d`, ...), the same network but for some modules' names and
            for a max pooling that pads on one side only, as in Caffe.
        drop_path_rate: stochastic depth at the last unit, growing linearly from 0 at the first; training only.

    Raises:
        ConfigError: a value is out of range, or groups do not divide channels.
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
        for field in ("layers", "channels"):
            values = getattr(self, field)
            if not isinstance(values, tuple) or not all(_is_count(value) for value in values):
                raise ConfigError(f"{field} has to be a list of whole numbers above 0, not {values!r}.")
        if len(self.layers) != 4 or len(self.channels) != 4:
            raise ConfigError(
                f"A network has four stages, but layers is {self.layers} and channels is {self.channels}."
            )
        for field in ("cardinality", "base_width", "stem_width"):
            if not _is_count(getattr(self, field)):
                raise ConfigError(f"{field} has to be a whole number above 0, not {getattr(self, field)!r}.")
        if self.stem_type not in STEM_TYPES:
            raise ConfigError(
                f"Unknown stem_type {self.stem_type!r}: it can be {', '.join(map(repr, STEM_TYPES))}."
            )
        if self.attn_layer not in ATTENTION:
            raise ConfigError(f"Unknown attn_layer {self.attn_layer!r}: this project knows 'se' or none.")
        if self.aa_layer not in ANTI_ALIASING:
            raise ConfigError(f"Unknown aa_layer {self.aa_layer!r}: this project knows 'avg' or none.")
        for field in ("avg_down", "legacy"):
            if not isinstance(getattr(self, field), bool):
                raise ConfigError(f"{field} has to be true or false, not {getattr(self, field)!r}.")
        if not isinstance(self.drop_path_rate, (int, float)) or not 0 <= self.drop_path_rate < 1:
            raise ConfigError(
                f"drop_path_rate has to be a number from 0 to below 1, not {self.drop_path_rate!r}."
            )
        if self.stem_type == "deep_tiered" and self.stem_width < 4:
            raise ConfigError(f"A deep_tiered stem needs a stem_width of 4 or more, not {self.stem_width}.")
        if max(*self.channels, self.cardinality, self.base_width, self.stem_width) > _MAX_CHANNELS:
            raise ConfigError(
                f"channels, cardinality, base_width and stem_width can be {_MAX_CHANNELS} at most."
            )
        widths = [self.bottleneck_width(planes) for planes in self.channels]
        if min(widths) < 1 or max(widths) > _MAX_CHANNELS:
            raise ConfigError(
                f"The stages would have {widths} bottleneck channels: each has to be 1 to {_MAX_CHANNELS}."
            )
        if sum(self.layers) > _MAX_LAYERS:
            raise ConfigError(
                f"{sum(self.layers)} residual units are more than the {_MAX_LAYERS} that are allowed."
            )

    def bottleneck_width(self, planes: int) -> int:
        """Channels of the 3x3 convolutions in a stage of `planes` planes, over all groups (timm's formula)."""
        return int(planes * (self.base_width / 64)) * self.cardinality

    @property
    def features(self) -> int:
        """Channels of the last feature map."""
        return self.channels[-1] * EXPANSION

    @property
    def first_conv(self) -> str:
        """timm's name of the first convolution."""
        return ("layer0." if self.legacy else "") + ("conv1.0" if self.stem_type else "conv1")

    @property
    def classifier(self) -> str:
        """timm's name of the dense layer."""
        return "last_linear" if self.legacy else "fc"


_101 = (3, 4, 23, 3)
_D_STEM = {"stem_type": "deep", "stem_width": 32, "avg_down": True}
ARCHITECTURES = {
    "resnet50": Architecture(),
    "resnet101": Architecture(_101),
    "resnet152": Architecture((3, 8, 36, 3)),
    "wide_resnet50_2": Architecture(base_width=128),
    "resnext50_32x4d": Architecture(cardinality=32, base_width=4),
    "resnext50d_32x4d": Architecture(cardinality=32, base_width=4, **_D_STEM),
    "resnext101_32x4d": Architecture(_101, cardinality=32, base_width=4),
    "resnext101_32x8d": Architecture(_101, cardinality=32, base_width=8),
    "resnext101_32x16d": Architecture(_101, cardinality=32, base_width=16),
    "resnext101_32x32d": Architecture(_101, cardinality=32, base_width=32),
    "resnext101_64x4d": Architecture(_101, cardinality=64, base_width=4),
    "seresnext26d_32x4d": Architecture(
        (2, 2, 2, 2), cardinality=32, base_width=4, attn_layer="se", **_D_STEM
    ),
    "seresnext26t_32x4d": Architecture(
        (2, 2, 2, 2), cardinality=32, base_width=4, attn_layer="se", **_D_STEM | {"stem_type": "deep_tiered"}
    ),
    "seresnext50_32x4d": Architecture(cardinality=32, base_width=4, attn_layer="se"),
    "seresnext101_32x4d": Architecture(_101, cardinality=32, base_width=4, attn_layer="se"),
    "seresnext101_32x8d": Architecture(_101, cardinality=32, base_width=8, attn_layer="se"),
    "seresnext101_64x4d": Architecture(_101, cardinality=64, base_width=4, attn_layer="se"),
    "seresnext101d_32x8d": Architecture(_101, cardinality=32, base_width=8, attn_layer="se", **_D_STEM),
    "seresnextaa101d_32x8d": Architecture(
        _101, cardinality=32, base_width=8, attn_layer="se", aa_layer="avg", **_D_STEM
    ),
    "seresnextaa201d_32x8d": Architecture(
        (3, 24, 36, 4),
        cardinality=32,
        base_width=8,
        attn_layer="se",
        aa_layer="avg",
        **_D_STEM | {"stem_width": 64},
    ),
    "legacy_seresnext26_32x4d": Architecture(
        (2, 2, 2, 2), cardinality=32, base_width=4, attn_layer="se", legacy=True
    ),
    "legacy_seresnext50_32x4d": Architecture(cardinality=32, base_width=4, attn_layer="se", legacy=True),
    "legacy_seresnext101_32x4d": Architecture(
        _101, cardinality=32, base_width=4, attn_layer="se", legacy=True
    ),
    "resnext26_small": Architecture(
        layers=(2, 2, 2, 2),
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


def find_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ConfigError: no such name; the message proposes the nearest one.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    near = difflib.get_close_matches(str(name)[:80], ARCHITECTURES, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(ARCHITECTURES)}."
    raise ConfigError(f"Unknown architecture {str(name)[:80]!r}: {hint}")


class Ops(Protocol):
    """What a reading of the network provides; tensors are of the reading's own kind, images channels-last."""

    def normalize(self, images): ...
    def conv(
        self, x, filters: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False, *, name: str
    ): ...
    def batch_norm(self, x, *, name: str, zero: bool = False): ...
    def relu(self, x, *, name: str): ...
    def sigmoid(self, x): ...
    def max_pool(self, x, padded: bool): ...
    def average_pool(self, x, round_up: bool): ...
    def global_pool(self, x, keepdims: bool = False): ...
    def dense(self, x, units: int, *, name: str): ...
    def multiply(self, x, y): ...
    def add(self, x, y): ...
    def drop_path(self, x, rate: float, *, name: str): ...


def build_network(ops: Ops, architecture: Architecture, num_classes: int, images) -> dict[str, Any]:
    """Walks the network from images to logits.

    Args:
        ops: the reading.
        architecture: what to build.
        num_classes: width of the classifier; 0 for none.
        images: the reading's input tensor, (batch, height, width, 3) RGB pixels from 0 to 255.

    Returns:
        Tensors by name: `stem`, `layer1` to `layer4` (feature maps with strides 2, 4, 8, 16, 32), `pooled`
        (batch, features), and `logits` (batch, num_classes) unless `num_classes` is 0.
    """
    x = _stem(ops, architecture, ops.normalize(images))
    out = {"stem": x}
    x = (
        ops.average_pool(x, round_up=False)
        if architecture.aa_layer
        else ops.max_pool(x, padded=not architecture.legacy)
    )
    units, unit = sum(architecture.layers), 0
    channels = architecture.stem_width * 2 if architecture.stem_type else 64
    for stage, (depth, planes) in enumerate(zip(architecture.layers, architecture.channels), start=1):
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            drop_path = architecture.drop_path_rate * unit / max(units - 1, 1)
            project = stride != 1 or channels != planes * EXPANSION
            x = _residual_unit(
                ops, architecture, x, planes, stride, project, drop_path, f"layer{stage}.{index}"
            )
            channels, unit = planes * EXPANSION, unit + 1
        out[f"layer{stage}"] = x
    out["pooled"] = ops.global_pool(x)
    if num_classes:
        out["logits"] = ops.dense(out["pooled"], num_classes, name=architecture.classifier)
    return out


def _stem(ops, architecture, x):
    width, prefix = architecture.stem_width, "layer0." if architecture.legacy else ""
    if architecture.stem_type:
        first = 3 * (width // 4) if architecture.stem_type == "deep_tiered" else width
        for index, (filters, stride) in enumerate(((first, 2), (width, 1))):
            x = ops.conv(x, filters, 3, stride, name=f"{prefix}conv1.{3 * index}")
            x = ops.relu(
                ops.batch_norm(x, name=f"{prefix}conv1.{3 * index + 1}"),
                name=f"{prefix}conv1.{3 * index + 2}",
            )
        x = ops.conv(x, 2 * width, 3, name=f"{prefix}conv1.6")
    else:
        x = ops.conv(x, 64, 7, 2, name=f"{prefix}conv1")
    return ops.relu(ops.batch_norm(x, name=f"{prefix}bn1"), name=f"{prefix}act1")


def _residual_unit(ops, architecture, x, planes, stride, project, drop_path, name):
    """Template C of the paper's Figure 3: 1x1, grouped 3x3, 1x1, and the shortcut added."""
    width = architecture.bottleneck_width(planes)
    pooled = stride == 2 and architecture.aa_layer is not None
    y = ops.conv(x, width, 1, name=f"{name}.conv1")
    y = ops.relu(ops.batch_norm(y, name=f"{name}.bn1"), name=f"{name}.act1")
    y = ops.conv(y, width, 3, 1 if pooled else stride, groups=architecture.cardinality, name=f"{name}.conv2")
    y = ops.relu(ops.batch_norm(y, name=f"{name}.bn2"), name=f"{name}.act2")
    if pooled:
        y = ops.average_pool(y, round_up=False)
    y = ops.conv(y, planes * EXPANSION, 1, name=f"{name}.conv3")
    y = ops.batch_norm(y, name=f"{name}.bn3", zero=True)
    if architecture.attn_layer == "se":
        y = _squeeze_excite(
            ops, y, planes * EXPANSION, f"{name}.se_module" if architecture.legacy else f"{name}.se"
        )
    if drop_path:
        y = ops.drop_path(y, drop_path, name=f"{name}.drop_path")
    if project:
        x = _shortcut(ops, architecture, x, planes * EXPANSION, stride, f"{name}.downsample")
    return ops.relu(ops.add(x, y), name=f"{name}.act3")


def _shortcut(ops, architecture, x, filters, stride, name):
    if architecture.avg_down:
        if stride == 2:
            x = ops.average_pool(x, round_up=True)
        x = ops.conv(x, filters, 1, name=f"{name}.1")
        return ops.batch_norm(x, name=f"{name}.2")
    x = ops.conv(x, filters, 1, stride, name=f"{name}.0")
    return ops.batch_norm(x, name=f"{name}.1")


def _squeeze_excite(ops, x, channels, name):
    """Hu et al., 2018 (arXiv:1709.01507), with timm's reduction to a sixteenth, rounded to eights."""
    reduced = max(8, int(channels / 16 + 4) // 8 * 8)
    y = ops.global_pool(x, keepdims=True)
    y = ops.relu(ops.conv(y, reduced, 1, bias=True, name=f"{name}.fc1"), name=f"{name}.act")
    return ops.multiply(x, ops.sigmoid(ops.conv(y, channels, 1, bias=True, name=f"{name}.fc2")))
