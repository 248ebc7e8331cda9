"""`summary`: a network stage by stage beside the ResNet of the same depth, as in Table 1 of the paper."""

import dataclasses

from resnext.architecture import EXPANSION, Architecture, find_architecture
from resnext.shapes import Module, network_modules


def summary(name: str, image_size: int = 224, num_classes: int = 1000) -> list[str]:
    """Describes a network by stages.

    Args:
        name: The name of the architecture.
        image_size: The height and width of the input in pixels.
        num_classes: The number of classes.

    Returns:
        The lines of a table: output size, layers, parameters and multiply-adds for one image, of each stage
        and in total.

    Raises:
        ConfigError: There is no such architecture.
    """
    architecture = find_architecture(name)
    plain = dataclasses.replace(architecture, cardinality=1, base_width=64)
    columns = [(f"ResNet-{_depth(plain)}, same depth", plain)] if plain != architecture else []
    columns.append((name, architecture))
    table = [["stage", "output"]]
    for title, _ in columns:
        table[0] += [title, "parameters", "multiply-adds"]
    sides = [_stages(network, image_size, num_classes) for _, network in columns]
    for rows in zip(*sides):
        stage, output = rows[0][:2]
        table.append([stage, output] + [cell for row in rows for cell in row[2:]])
    lines = _align(table)
    return [*lines[:1], "-" * len(lines[0]), *lines[1:-1], "-" * len(lines[0]), lines[-1]]


def layers(name: str, image_size: int = 224, num_classes: int = 1000) -> list[str]:
    """Describes a network by modules.

    Args:
        name: The name of the architecture.
        image_size: The height and width of the input in pixels.
        num_classes: The number of classes.

    Returns:
        The lines of a table: name, output shape, parameters and multiply-adds of every module with weights.

    Raises:
        ConfigError: There is no such architecture.
    """
    table = [["module", "output", "parameters", "multiply-adds"]]
    for module in network_modules(find_architecture(name), num_classes, image_size):
        output = " x ".join(map(str, module.output))
        table.append([module.name, output, f"{module.parameters:,}", f"{module.multiply_adds:,}"])
    return _align(table)


def _stages(architecture: Architecture, image_size: int, num_classes: int) -> list[tuple[str, ...]]:
    """Rows of the table: stage, output size, layers, parameters and multiply-adds."""
    modules = network_modules(architecture, num_classes, image_size)
    stages = {
        "stem": _stem(architecture),
        **{f"layer{index + 1}": _unit(architecture, index) for index in range(4)},
        "fc": f"average pool, {num_classes}-d fc",
    }
    members = {stage: [] for stage in stages}
    for module in modules:
        first = module.name.split(".")[0]
        stage = "fc" if first == architecture.classifier else first
        members[stage if stage in stages else "stem"].append(module)
    rows = []
    for stage, description in stages.items():
        side = _output_side(members[stage]) if stage != "fc" else 1
        rows.append((stage, f"{side} x {side}", description, *_totals(members[stage])))
    return [*rows, ("total", "", "", *_totals(modules))]


def _output_side(modules: list[Module]) -> int:
    # The modules of squeeze-and-excitation work on pooled maps.
    return [module.output[-1] for module in modules if ".se" not in module.name][-1]


def _totals(modules: list[Module]) -> tuple[str, str]:
    parameters = sum(module.parameters for module in modules)
    multiply_adds = sum(module.multiply_adds for module in modules)
    return f"{parameters:,}", f"{multiply_adds / 1e9:.3f} G"


def _stem(architecture: Architecture) -> str:
    if architecture.stem_type:
        return f"three 3x3, {architecture.stem_width} to {2 * architecture.stem_width}, stride 2"
    return "7x7, 64, stride 2"


def _unit(architecture: Architecture, stage: int) -> str:
    planes = architecture.channels[stage]
    depth = architecture.layers[stage]
    width = architecture.bottleneck_width(planes)
    groups = f", C={architecture.cardinality}" if architecture.cardinality > 1 else ""
    attention = ", SE" if architecture.attn_layer else ""
    return f"[1x1, {width} | 3x3, {width}{groups} | 1x1, {planes * EXPANSION}{attention}] x {depth}"


def _depth(architecture: Architecture) -> int:
    """The number of layers as the papers count them: three per residual unit, the stem and the classifier."""
    return 3 * sum(architecture.layers) + 2


def _align(table: list[list[str]]) -> list[str]:
    """Pads the cells of a table; numbers are aligned to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    is_number = [title in ("parameters", "multiply-adds") for title in table[0]]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, is_number)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
