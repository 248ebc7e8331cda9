"""The network's third reading: no numbers, only shapes, parameters and multiply-adds, module by module."""

import dataclasses
import math

from resnext.architecture import Architecture, build_network


@dataclasses.dataclass(frozen=True)
class Module:
    """A module with weights.

    Args:
        name: timm's name of it.
        tensors: shapes of its tensors by timm's key; kernels OIHW, dense kernels (out, in).
        output: (channels, height, width), or (units,).
        parameters: trainable numbers (batch norm's running statistics are not).
        multiply_adds: for one image; counted as the paper does, convolutions and dense layers only.
    """

    name: str
    tensors: dict[str, tuple[int, ...]]
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


def network_modules(architecture: Architecture, num_classes: int, image_size: int = 224) -> list[Module]:
    """Every module with weights, in the order in which an image meets them."""
    ops = ShapeOps()
    build_network(ops, architecture, num_classes, (3, image_size, image_size))
    return ops.modules


def tensor_shapes(architecture: Architecture, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors that a model.safetensors of this network holds, by timm's keys."""
    shapes = {}
    for module in network_modules(architecture, num_classes, image_size=32):
        shapes |= module.tensors
    return shapes


class ShapeOps:
    """The network's operations on (channels, height, width); see `resnext.architecture.Ops`."""

    def __init__(self):
        self.modules: list[Module] = []

    def normalize(self, images):
        return images

    def conv(self, x, filters, kernel, stride=1, groups=1, bias=False, *, name):
        channels, height, width = x
        output = (filters, -(-height // stride), -(-width // stride))
        tensors = {f"{name}.weight": (filters, channels // groups, kernel, kernel)}
        weights = math.prod(tensors[f"{name}.weight"])
        if bias:
            tensors[f"{name}.bias"] = (filters,)
        self.modules.append(
            Module(name, tensors, output, weights + filters * bias, weights * output[1] * output[2])
        )
        return output

    def batch_norm(self, x, *, name, zero=False):
        tensors = {f"{name}.{part}": (x[0],) for part in ("weight", "bias", "running_mean", "running_var")}
        self.modules.append(Module(name, tensors, x, 2 * x[0], 0))
        return x

    def dense(self, x, units, *, name):
        tensors = {f"{name}.weight": (units, x[0]), f"{name}.bias": (units,)}
        self.modules.append(Module(name, tensors, (units,), units * x[0] + units, units * x[0]))
        return (units,)

    def max_pool(self, x, padded):
        return (x[0], *(-(-side // 2) if padded else max(1, side // 2) for side in x[1:]))

    def average_pool(self, x, round_up):
        return (x[0], *(-(-side // 2) if round_up else side // 2 for side in x[1:]))

    def global_pool(self, x, keepdims=False):
        return (x[0], 1, 1) if keepdims else (x[0],)

    def relu(self, x, *, name):
        return x

    def sigmoid(self, x):
        return x

    def multiply(self, x, y):
        return x

    def add(self, x, y):
        return x

    def drop_path(self, x, rate, *, name):
        return x
