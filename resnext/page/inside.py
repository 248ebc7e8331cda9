"""The tab of the lesson, in pictures: grouped convolution, the three forms of a unit, and ResNet-50 beside ResNeXt-50."""

import dataclasses
import html

import gradio as gr
import numpy as np
from PIL import Image

from resnext.architecture import find_architecture
from resnext.network_shapes import network_modules
from resnext.page.markup import Picture, pictures, sentence
from resnext.page.words import language, say, translated
from resnext.residual_forms import FormC, b_to_a, c_to_b, convolution_parameters

# Bottleneck width of ResNeXt-50 by cardinality, at the complexity of ResNet-50 (Table 2 of arXiv:1611.05431)
WIDTHS = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}
_COLOURS = ("#2B74B8", "#EE7733", "#228833", "#AA3377", "#997700", "#117788", "#CC3311", "#6655AA")
_MOST_DRAWN = 32
_SIDE = 56  # of the feature map that multiply-adds are counted on


def inside_tab():
    """What a grouped convolution and a residual unit are, to play with.

    Returns:
        `show(tongue)`, which gives the values of the components that follow it; and those components.
    """
    gr.Markdown(translated("Grouped convolution"), elem_classes="title")
    with gr.Row():
        sizes = [
            gr.Slider(1, 64, value=12, step=1, label=translated("Input channels"), min_width=140),
            gr.Slider(1, 64, value=12, step=1, label=translated("Filters"), min_width=140),
            gr.Slider(1, 7, value=3, step=2, label=translated("Kernel"), min_width=140),
            gr.Slider(1, 64, value=3, step=1, label=translated("Groups"), min_width=140),
        ]
    wires = gr.HTML()
    gr.Markdown(translated("Three equal forms of the residual unit"), elem_classes="title")
    paths = gr.Slider(1, 32, value=32, step=1, label=translated("Cardinality"))
    drawn = gr.HTML()
    run = gr.Button(translated("Run the three forms"), variant="primary")
    outputs = gr.HTML(elem_classes="outputs")
    gr.Markdown(translated("ResNet-50 beside ResNeXt-50"), elem_classes="title")
    cardinality = gr.Radio(list(WIDTHS), value=32, label=translated("Cardinality"), elem_classes="stages")
    stages = gr.HTML()

    def calculate(channels: float, filters: float, kernel: float, groups: float, request: gr.Request) -> str:
        return calculator(channels, filters, kernel, groups, language(request))

    def draw_forms(count: float, request: gr.Request) -> str:
        return forms(count, language(request))

    def run_all(count: float, request: gr.Request) -> str:
        return run_forms(count, language(request))

    def compare(count: int, request: gr.Request) -> str:
        return beside(count, language(request))

    def show(tongue: str):
        return calculator(12, 12, 3, 3, tongue), forms(32, tongue), beside(32, tongue)

    quick = {"api_visibility": "private", "show_progress": "hidden", "queue": False, "trigger_mode": "always_last"}
    gr.on([size.input for size in sizes], calculate, sizes, wires, **quick)
    paths.input(draw_forms, paths, drawn, **quick)
    run.click(run_all, paths, outputs, api_visibility="private", show_progress="hidden")
    cardinality.input(compare, cardinality, stages, **quick)
    return show, (wires, drawn, stages)


def calculator(channels: int, filters: int, kernel: int, groups: int, tongue: str) -> str:
    """A standard beside a grouped convolution: who sees whom, parameters, multiply-adds."""
    channels, filters, kernel, groups = int(channels), int(filters), int(kernel), int(groups)
    if channels % groups or filters % groups:
        those = ", ".join(str(g) for g in range(1, min(channels, filters) + 1) if channels % g == filters % g == 0)
        text = "{groups} groups do not divide {channels} channels and {filters} filters. These do: {those}."
        return sentence(say(tongue, text, groups=groups, channels=channels, filters=filters, those=those))
    standard = _convolution(channels, filters, kernel, 1, say(tongue, "Standard convolution"), tongue)
    title = say(tongue, "Grouped convolution, {groups} groups", groups=groups)
    return f'<div class="tables">{standard}{_convolution(channels, filters, kernel, groups, title, tongue)}</div>'


def _convolution(channels, filters, kernel, groups, title, tongue) -> str:
    parameters = convolution_parameters(kernel, channels, filters, groups)
    seen = say(tongue, "Each filter sees every channel.")
    if groups > 1:
        text = "Each filter sees only its group's {share} channels: {times} times fewer weights."
        seen = say(tongue, text, share=channels // groups, times=groups)
    facts = (
        f"{say(tongue, '{parameters} parameters', parameters=f'{parameters:,}')} · "
        f"{say(tongue, '{adds} multiply-adds on 56 × 56', adds=f'{parameters * _SIDE**2:,}')}"
    )
    picture = _wires(channels, filters, groups, f"{title}. {seen}", tongue)
    return (
        f'<figure class="wires"><h3>{html.escape(title)}</h3>{picture}'
        f"<figcaption><strong>{html.escape(facts)}</strong><br>{html.escape(seen)}</figcaption></figure>"
    )


def _wires(channels, filters, groups, alt, tongue) -> str:
    """Channels above, filters below, a line from each channel to each filter that sees it (SVG)."""
    if max(channels, filters) > _MOST_DRAWN:  # as many whole groups as can be told apart
        shown = max(1, min(groups, groups * _MOST_DRAWN // max(channels, filters)))
        drawn_channels, drawn_filters = channels // groups * shown, filters // groups * shown
        drawn_channels, drawn_filters, drawn = min(drawn_channels, _MOST_DRAWN), min(drawn_filters, _MOST_DRAWN), shown
    else:
        drawn_channels, drawn_filters, drawn = channels, filters, groups
    ups, downs = _places(drawn_channels), _places(drawn_filters)
    colour = [_COLOURS[group % len(_COLOURS)] for group in range(drawn)]

    def group_of(index: int, count: int) -> int:
        return index * drawn // count

    lines = [
        f'<line x1="{x:.1f}" y1="34" x2="{y:.1f}" y2="126" stroke="{colour[group_of(i, drawn_channels)]}"/>'
        for i, x in enumerate(ups)
        for j, y in enumerate(downs)
        if group_of(i, drawn_channels) == group_of(j, drawn_filters)
    ]
    dots = [f'<circle cx="{x:.1f}" cy="30" r="4" fill="{colour[group_of(i, drawn_channels)]}"/>' for i, x in enumerate(ups)]
    dots += [
        f'<rect x="{x - 4:.1f}" y="126" width="8" height="8" fill="{colour[group_of(i, drawn_filters)]}"/>'
        for i, x in enumerate(downs)
    ]
    more = "" if drawn_channels == channels and drawn_filters == filters else " …"
    words = (
        f'<text x="160" y="14">{channels} {html.escape(say(tongue, "input channels"))}{more}</text>'
        f'<text x="160" y="154">{filters} {html.escape(say(tongue, "filters"))}{more}</text>'
    )
    return f'<svg viewBox="0 0 320 162" role="img" aria-label="{html.escape(alt)}">{"".join(lines + dots)}{words}</svg>'


def _places(count: int) -> np.ndarray:
    return np.array([160.0]) if count == 1 else np.linspace(12, 308, count)


def forms(cardinality: int, tongue: str) -> str:
    """The three forms drawn as boxes and arrows."""
    titles = {"a": "paths, added", "b": "early concatenation", "c": "grouped convolution"}
    drawings = "".join(
        f'<figure class="wires"><h3>({form}) {html.escape(say(tongue, title))}</h3>{_form(form, int(cardinality), title)}</figure>'
        for form, title in titles.items()
    )
    return f'<div class="tables three">{drawings}</div>'


def _form(form: str, cardinality: int, title: str) -> str:
    width, wide = 4, 4 * cardinality

    def box(x, y, text, colour, breadth=74):
        return (
            f'<rect class="box" x="{x - breadth / 2}" y="{y}" width="{breadth}" height="24" rx="5" stroke="{colour}"/>'
            f'<text x="{x}" y="{y + 16}">{text}</text>'
        )

    def arrow(x1, y1, x2, y2):
        return f'<line class="arrow" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'

    parts = []
    if form == "c":
        for y, text in ((40, f"1×1, {wide}"), (86, f"3×3, {wide}, C={cardinality}"), (132, "1×1, 256")):
            parts.append(box(150, y, text, _COLOURS[0], 130))
        parts += [arrow(150, 20, 150, 40), arrow(150, 64, 150, 86), arrow(150, 110, 150, 132), arrow(150, 156, 150, 190)]
    else:
        columns = (55, 150, 245) if cardinality > 2 else (80, 220) if cardinality == 2 else (150,)
        joint = 132 if form == "b" else 190
        for x, colour in zip(columns, _COLOURS):
            parts += [box(x, 40, f"1×1, {width}", colour), box(x, 86, f"3×3, {width}", colour)]
            parts += [arrow(150, 20, x, 40), arrow(x, 64, x, 86)]
            if form == "a":
                parts += [box(x, 132, "1×1, 256", colour), arrow(x, 110, x, 132), arrow(x, 156, 150, joint)]
            else:
                parts.append(arrow(x, 110, 150, joint))
        if cardinality > 2:
            parts.append(f'<text x="198" y="102">…</text><text x="198" y="56">…</text><text x="60" y="16">C = {cardinality}</text>')
        if form == "b":
            parts += [box(150, 132, f"[{wide}] → 1×1, 256", _COLOURS[0], 130), arrow(150, 156, 150, 190)]
    parts.append('<text x="150" y="16">256</text><circle class="box" cx="150" cy="200" r="10" stroke="#6B6B6B"/><text x="150" y="205">+</text>')
    parts.append('<path class="arrow" d="M170 12 H292 V200 H160"/>')
    return f'<svg viewBox="0 0 304 216" role="img" aria-label="({form}) {html.escape(title)}, C = {cardinality}">{"".join(parts)}</svg>'


def run_forms(cardinality: int, tongue: str) -> str:
    """One unit of random weights in its three forms, on random numbers: their outputs and how far they are apart."""
    unit = FormC.random(256, int(cardinality), 4)
    numbers = np.random.default_rng(1).standard_normal((1, 14, 14, 256)).astype(np.float32)
    form_b = c_to_b(unit)
    outputs = {"a": b_to_a(form_b)(numbers), "b": form_b(numbers), "c": unit(numbers)}
    largest = float(np.abs(outputs["c"]).max())
    difference = max(float(np.abs(output - outputs["c"]).max()) for output in outputs.values())
    text = (
        "The same random weights and the same random numbers through all three forms: "
        "the largest difference is {difference}, of outputs up to {largest}."
    )
    found = sentence(say(tongue, text, difference=f"{difference:.1e}", largest=f"{largest:.1f}"), "found")
    captioned = []
    for form, output in outputs.items():
        channel = output[0, :, :, 0]
        grey = Image.fromarray((255 * channel / max(channel.max(), 1e-9)).clip(0, 255).astype(np.uint8)).resize((140, 140), 0)
        caption = f"({form}) {', '.join(f'{value:.4f}' for value in channel[0, :3])}, …"
        captioned.append((Picture(grey.convert("RGB"), f"({form})"), caption))
    return found + pictures(say(tongue, "first output channel"), captioned)


def beside(cardinality: int, tongue: str) -> str:
    """ResNet-50 beside ResNeXt-50 of a cardinality, stage by stage: parameters and multiply-adds as bars."""
    width, plain = WIDTHS[cardinality], find_architecture("resnet50")
    networks = {
        "ResNet-50": plain,
        f"ResNeXt-50 {cardinality}×{width}d": dataclasses.replace(plain, cardinality=cardinality, base_width=width),
    }
    costs = {name: _stage_costs(network) for name, network in networks.items()}
    largest = [max(cost[kind] for stages in costs.values() for cost in stages.values()) for kind in range(2)]
    head = "".join(f"<th>{html.escape(name)}: {html.escape(say(tongue, kind))}</th>" for kind in ("parameters", "multiply-adds") for name in costs)
    rows = []
    for stage in next(iter(costs.values())):
        cells = "".join(_bar(costs[name][stage][kind], largest[kind], index) for kind in range(2) for index, name in enumerate(costs))
        rows.append(f"<tr><th class='stage'>{stage}</th>{cells}</tr>")
    totals = "".join(f'<td class="number"><strong>{sum(cost[kind] for cost in costs[name].values()):,}</strong></td>' for kind in range(2) for name in costs)
    text = "More paths, each thinner: cardinality {cardinality} × width {width} costs what ResNet-50 costs."
    title = html.escape(say(tongue, "ResNet-50 beside ResNeXt-50"))
    return (
        sentence(say(tongue, text, cardinality=cardinality, width=width), "found")
        + f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table><thead><tr><th>{html.escape(say(tongue, "stage"))}</th>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}<tr><th>{html.escape(say(tongue, "in all"))}</th>{totals}</tr></tbody></table></div>'
    )


def _stage_costs(architecture) -> dict[str, list[int]]:
    costs: dict[str, list[int]] = {}
    for module in network_modules(architecture, 1000):
        first = module.name.partition(".")[0]
        cost = costs.setdefault(first if first.startswith(("layer", "fc")) else "stem", [0, 0])
        cost[0] += module.parameters
        cost[1] += module.multiply_adds
    return costs


def _bar(value: int, largest: int, index: int) -> str:
    return f'<td class="number">{value:,}<span class="bar" style="width:{100 * value / largest:.1f}%;background:{_COLOURS[index]}"></span></td>'
