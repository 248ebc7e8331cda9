"""The backend without numbers: the network's shapes, parameters and multiply-adds, module by module."""

import dataclasses
import math

from resnext.architecture import Architecture, build_network

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Module:
    """A module with weights.

    Args:
        name: timm's name of the module.
        tensors: The shapes of its tensors by timm's key. Kernels are OIHW, dense kernels `(out, in)`.
        output: The shape of its output, `(channels, height, width)` or `(units,)`.
        parameters: The number of trainable parameters. Batch norm's running statistics are not trainable.
        multiply_adds: The number of multiply-adds for one image. As in the paper, only convolutions and dense
            layers count.
    """

    name: str
    tensors: dict[str, Shape]
    output: Shape
    parameters: int
    multiply_adds: int


def network_modules(architecture: Architecture, num_classes: int, image_size: int = 224) -> list[Module]:
    """Returns every module with weights, in the order in which an image passes them.

    Args:
        architecture: The network.
        num_classes: The number of classes, or 0 for a network without a classifier.
        image_size: The height and width of the images in pixels.
    """
    ops = ShapeOps()
    build_network(ops, architecture, num_classes, (3, image_size, image_size))
    return ops.modules


def tensor_shapes(architecture: Architecture, num_classes: int) -> dict[str, Shape]:
    """Returns the shapes of all tensors that this network's model.safetensors holds, by timm's keys."""
    shapes: dict[str, Shape] = {}
    for module in network_modules(architecture, num_classes, image_size=32):
        shapes |= module.tensors
    return shapes


class ShapeOps:
    """The operations on shapes, `(channels, height, width)`; see `resnext.architecture.Ops`.

    Attributes:
        modules: The modules that the network has used so far.
    """

    def __init__(self) -> None:
        self.modules: list[Module] = []

    def normalize(self, images: Shape) -> Shape:
        return images

    def conv_bn(
        self,
        x: Shape,
        filters: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        zero_init: bool = False,
        *,
        conv: str,
        bn: str,
    ) -> Shape:
        output = self._conv(x, filters, kernel, stride, groups, bias=False, name=conv)
        parts = ("weight", "bias", "running_mean", "running_var")
        tensors: dict[str, Shape] = {f"{bn}.{part}": (filters,) for part in parts}
        self.modules.append(Module(bn, tensors, output, 2 * filters, 0))
        return output

    def conv_bias(self, x: Shape, filters: int, *, name: str) -> Shape:
        return self._conv(x, filters, 1, 1, 1, bias=True, name=name)

    def _conv(
        self, x: Shape, filters: int, kernel: int, stride: int, groups: int, bias: bool, name: str
    ) -> Shape:
        channels, height, width = x
        output = (filters, -(-height // stride), -(-width // stride))
        kernel_shape = (filters, channels // groups, kernel, kernel)
        tensors: dict[str, Shape] = {f"{name}.weight": kernel_shape}
        parameters = math.prod(kernel_shape)
        multiply_adds = parameters * output[1] * output[2]
        if bias:
            tensors[f"{name}.bias"] = (filters,)
            parameters += filters
        self.modules.append(Module(name, tensors, output, parameters, multiply_adds))
        return output

    def dense(self, x: Shape, units: int, *, name: str) -> Shape:
        tensors: dict[str, Shape] = {f"{name}.weight": (units, x[0]), f"{name}.bias": (units,)}
        self.modules.append(Module(name, tensors, (units,), units * x[0] + units, units * x[0]))
        return (units,)

    def max_pool(self, x: Shape, padded: bool) -> Shape:
        return (x[0], *(-(-side // 2) if padded else max(1, side // 2) for side in x[1:]))

    def average_pool(self, x: Shape, round_up: bool) -> Shape:
        return (x[0], *(-(-side // 2) if round_up else side // 2 for side in x[1:]))

    def global_pool(self, x: Shape, keepdims: bool = False) -> Shape:
        return (x[0], 1, 1) if keepdims else (x[0],)

    def relu(self, x: Shape, *, name: str) -> Shape:
        return x

    def sigmoid(self, x: Shape) -> Shape:
        return x

    def multiply(self, x: Shape, y: Shape) -> Shape:
        return x

    def add(self, x: Shape, y: Shape) -> Shape:
        return x

    def drop_path(self, x: Shape, rate: float, *, name: str) -> Shape:
        return x
