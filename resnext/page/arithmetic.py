"""The arithmetic of the lesson: weights, multiply-adds, bottleneck widths, the three forms of a block."""

import dataclasses
import functools
import math

import numpy as np

from resnext.architecture import Architecture, find_architecture
from resnext.residual_forms import FormC, b_to_a, c_to_b, convolution_parameters
from resnext.shapes import network_modules

# Bottleneck width of ResNeXt-50 by cardinality, at the complexity of ResNet-50 (Table 2 of arXiv:1611.05431).
TABLE_2 = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}
MAX_CARDINALITY = 32
# Channels of a block's input and output in the paper's Figure 3 and Table 2.
_BLOCK_CHANNELS = 256


def divisors(channels: int, filters: int) -> list[int]:
    """The numbers of groups that divide both the input channels and the filters of a convolution."""
    return [
        count
        for count in range(1, math.gcd(channels, filters) + 1)
        if channels % count == filters % count == 0
    ]


def kernel_weights(channels: int, filters: int, kernel: int, groups: int) -> int:
    """The number of weights of a convolution without bias.

    Args:
        channels: The number of input channels.
        filters: The number of filters.
        kernel: Height and width of the kernel.
        groups: The number of groups.
    """
    return convolution_parameters(kernel, channels, filters, groups)


def block_weights(cardinality: int, width: int) -> int:
    """The number of weights of a block on 256 channels: C · (256 · d + 3 · 3 · d · d + d · 256).

    Args:
        cardinality: The number of paths, C.
        width: The bottleneck width of each path, d.
    """
    channels = cardinality * width
    return (
        kernel_weights(_BLOCK_CHANNELS, channels, 1, 1)
        + kernel_weights(channels, channels, 3, cardinality)
        + kernel_weights(channels, _BLOCK_CHANNELS, 1, 1)
    )


def equal_width(cardinality: int) -> int:
    """The bottleneck width at which a block has nearly as many weights as ResNet-50's (equation 4)."""
    target = block_weights(1, 64)
    return min(range(64, 0, -1), key=lambda width: abs(block_weights(cardinality, width) - target))


def compared_networks(cardinality: int) -> tuple[Architecture, Architecture]:
    """ResNet-50, and ResNeXt-50 of a cardinality at equal complexity."""
    resnet = find_architecture("resnet50")
    width = equal_width(cardinality)
    return resnet, dataclasses.replace(resnet, cardinality=cardinality, base_width=width)


@functools.lru_cache(maxsize=64)
def stage_costs(architecture: Architecture) -> dict[str, tuple[int, int]]:
    """Parameters and multiply-adds of each stage, for 1000 classes at 224 x 224 pixels."""
    costs: dict[str, tuple[int, int]] = {}
    for module in network_modules(architecture, 1000):
        first = module.name.partition(".")[0]
        stage = first if first.startswith(("layer", "fc")) else "stem"
        parameters, multiply_adds = costs.get(stage, (0, 0))
        costs[stage] = (parameters + module.parameters, multiply_adds + module.multiply_adds)
    return costs


@dataclasses.dataclass(frozen=True)
class FormOutputs:
    """The outputs of a block's three equivalent forms for the same weights and input.

    Args:
        channels: One output channel by form ("a", "b", "c"), (14, 14) float32.
        difference: The largest absolute difference from the output of form (c).
        largest: The largest absolute output of form (c).
    """

    channels: dict[str, np.ndarray]
    difference: float
    largest: float


def compute_forms(cardinality: int, seed: int = 0) -> FormOutputs:
    """Computes a block of random weights in its three forms, on random input.

    Args:
        cardinality: The number of paths, each of width 4.
        seed: The seed of weights and input.
    """
    form_c = FormC.random(_BLOCK_CHANNELS, cardinality, 4, seed)
    form_b = c_to_b(form_c)
    form_a = b_to_a(form_b)
    rng = np.random.default_rng(seed + 1)
    numbers = rng.standard_normal((1, 14, 14, _BLOCK_CHANNELS)).astype(np.float32)
    outputs = {"a": form_a(numbers), "b": form_b(numbers), "c": form_c(numbers)}
    reference = outputs["c"]
    difference = max(float(np.abs(output - reference).max()) for output in outputs.values())
    # Most other channels are nearly empty pictures.
    busiest = int((reference[0] > 0).mean((0, 1)).argmax())
    channels = {form: output[0, :, :, busiest] for form, output in outputs.items()}
    return FormOutputs(channels, difference, float(np.abs(reference).max()))
