"""`summary`: a network stage by stage, beside the ResNet of the same depth, as in Table 1 of the paper."""

import dataclasses

from resnext.architecture import EXPANSION, Architecture, find_architecture
from resnext.shapes import Module, network_modules


def summary(name: str, image_size: int = 224, num_classes: int = 1000) -> list[str]:
    """The lines of the table.

    Args:
        name: of the architecture.
        image_size: height and width of the input in pixels.
        num_classes: width of the classifier.

    Returns:
        Output size, layers, parameters and multiply-adds (of one image) of each stage and in all.

    Raises:
        ConfigError: no such architecture.
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
    """Every module with weights: its name, output shape, parameters and multiply-adds, as lines of a table."""
    table = [["module", "output", "parameters", "multiply-adds"]]
    for module in network_modules(find_architecture(name), num_classes, image_size):
        output = " x ".join(map(str, module.output))
        table.append([module.name, output, f"{module.parameters:,}", f"{module.multiply_adds:,}"])
    return _align(table)


def _stages(architecture: Architecture, image_size: int, num_classes: int) -> list[tuple[str, ...]]:
    modules = network_modules(architecture, num_classes, image_size)
    groups = {"stem": [], **{f"layer{stage}": [] for stage in range(1, 5)}, "fc": []}
    for module in modules:
        first = module.name.split(".")[0]
        groups["fc" if first == architecture.classifier else first if first in groups else "stem"].append(
            module
        )
    described = [
        _stem(architecture),
        *(_unit(architecture, stage) for stage in range(4)),
        f"average pool, {num_classes}-d fc",
    ]
    rows = []
    for (stage, members), text in zip(groups.items(), described):
        side = [m.output[-1] for m in members if ".se" not in m.name][-1] if stage != "fc" else 1
        rows.append((stage, f"{side} x {side}", text, *_totals(members)))
    return [*rows, ("in all", "", "", *_totals(modules))]


def _totals(modules: list[Module]) -> tuple[str, str]:
    parameters, multiply_adds = sum(m.parameters for m in modules), sum(m.multiply_adds for m in modules)
    return f"{parameters:,}", f"{multiply_adds / 1e9:.3f} G"


def _stem(architecture: Architecture) -> str:
    if architecture.stem_type:
        return f"three 3x3, {architecture.stem_width} to {2 * architecture.stem_width}, stride 2"
    return "7x7, 64, stride 2"


def _unit(architecture: Architecture, stage: int) -> str:
    planes, depth = architecture.channels[stage], architecture.layers[stage]
    width = architecture.bottleneck_width(planes)
    groups = f", C={architecture.cardinality}" if architecture.cardinality > 1 else ""
    attention = ", SE" if architecture.attn_layer else ""
    return f"[1x1, {width} | 3x3, {width}{groups} | 1x1, {planes * EXPANSION}{attention}] x {depth}"


def _depth(architecture: Architecture) -> int:
    """Layers as the papers count them: three in each unit, the stem and the classifier."""
    return 3 * sum(architecture.layers) + 2


def _align(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    numbers = [column for column, title in enumerate(table[0]) if title in ("parameters", "multiply-adds")]
    return [
        "  ".join(
            cell.rjust(w) if column in numbers else cell.ljust(w)
            for column, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in table
    ]
