"""The tab of the lesson, in pictures: grouped convolution, the three forms of a unit, and ResNet-50 beside ResNeXt-50."""

import dataclasses
import functools
import html
import json
import math
import secrets

import gradio as gr
import numpy as np
from PIL import Image

from resnext.architecture import find_architecture
from resnext.page.i18n import request_language, say, translated
from resnext.page.markup import Picture, headline
from resnext.residual_forms import FormC, b_to_a, c_to_b, convolution_parameters
from resnext.shapes import network_modules

# Bottleneck width of ResNeXt-50 by cardinality, at the complexity of ResNet-50 (Table 2 of arXiv:1611.05431)
TABLE_2 = {1: 64, 2: 40, 4: 24, 8: 14, 32: 4}
MAX_CHANNELS = 128
# Input channels, filters, kernel, groups
PRESETS = {
    "{standard} or {grouped} weights": (6, 3, 3, 3),
    "ResNeXt-50's first: {standard} or {grouped}": (128, 128, 3, 32),
}
START = (12, 12, 3, 3)
_COLOURS = 8  # of groups: the classes g0 to g7 of the style
_MAX_DRAWN = 32
_SIDE = 56  # of the feature map that multiply-adds are counted on
_TITLE = '<h2 class="title lesson">${value}</h2>'
# A click on a button that carries data is the component's; the button keeps the focus when the HTML is drawn anew.
_PICK = """
let picked = null;
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-pick]');
  if (!button) return;
  picked = button.dataset.pick;
  trigger('click', JSON.parse(picked));
});
watch('value', () => {
  if (picked && document.activeElement === document.body) element.querySelector(`[data-pick='${picked}']`)?.focus();
  picked = null;
});"""


def inside_tab():
    """What a grouped convolution and a residual unit are, to play with.

    Returns:
        `show(language)`, which gives the values of the components that follow it; and those components.
    """
    drawing = functools.partial(gr.HTML, apply_default_css=False, js_on_load=_PICK, elem_classes="inside")
    title = functools.partial(gr.HTML, html_template=_TITLE, apply_default_css=False, js_on_load=None)

    title(translated("Grouped convolution"), html_template=_TITLE.replace("lesson", "lesson first"))
    with gr.Row():
        sizes = [
            gr.Slider(
                1, MAX_CHANNELS, value=START[0], step=1, label=translated("Input channels"), min_width=200
            ),
            gr.Slider(1, MAX_CHANNELS, value=START[1], step=1, label=translated("Filters"), min_width=200),
            gr.Slider(1, 7, value=START[2], step=2, label=translated("Kernel"), min_width=200),
            gr.Slider(1, MAX_CHANNELS, value=START[3], step=1, label=translated("Groups"), min_width=200),
        ]
    kernels = drawing()

    title(translated("Three equal forms of the residual unit"))
    paths = gr.Slider(1, 32, value=32, step=1, label=translated("Cardinality"))
    drawn = drawing()
    with gr.Row(elem_classes="centred"):
        run = gr.Button(translated("Run the three forms"), variant="primary", scale=0, min_width=280)
    outputs = drawing(elem_classes="inside outputs")

    title(translated("ResNet-50 beside ResNeXt-50"))
    cardinality = gr.Slider(
        1,
        32,
        value=32,
        step=1,
        label=translated("Cardinality at equal complexity"),
        elem_classes="cardinality",
    )
    stages = drawing()

    def calculate(channels: float, filters: float, kernel: float, groups: float, request: gr.Request) -> str:
        return calculator(channels, filters, kernel, groups, request_language(request))

    def pick_sizes(event: gr.EventData, request: gr.Request):
        channels, filters, kernel, groups = picked = [_within(size, MAX_CHANNELS) for size in event.sizes]
        return *picked, calculator(channels, filters, min(kernel, 7), groups, request_language(request))

    def draw_forms(count: float, request: gr.Request):
        return forms(count, request_language(request)), ""  # an old run says nothing about the new unit

    def run_all(count: float, request: gr.Request) -> str:
        return run_forms(count, request_language(request), seed=secrets.randbelow(2**32))

    def compare(count: float, request: gr.Request) -> str:
        return beside(count, request_language(request))

    def pick_cardinality(event: gr.EventData, request: gr.Request):
        count = _within(event.cardinality, 32)
        return count, beside(count, request_language(request))

    def show(language: str):
        return *START, calculator(*START, language), 32, forms(32, language), "", 32, beside(32, language)

    quick = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "queue": False,
        "trigger_mode": "always_last",
    }
    gr.on([size.input for size in sizes], calculate, sizes, kernels, **quick)
    kernels.click(pick_sizes, None, (*sizes, kernels), **quick)
    paths.input(draw_forms, paths, (drawn, outputs), **quick)
    run.click(run_all, paths, outputs, api_visibility="private", show_progress="hidden")
    cardinality.input(compare, cardinality, stages, **quick)
    stages.click(pick_cardinality, None, (cardinality, stages), **quick)
    return show, (*sizes, kernels, paths, drawn, outputs, cardinality, stages)


def _within(value, most: int) -> int:
    """A whole number from 1 to `most`: what a browser sends may be anything."""
    return min(max(int(value), 1), most)


def calculator(channels: int, filters: int, kernel: int, groups: int, language: str) -> str:
    """A standard beside a grouped convolution: who sees whom, parameters, multiply-adds."""
    channels, filters, kernel, groups = int(channels), int(filters), int(kernel), int(groups)
    fitting = [
        count
        for count in range(1, math.gcd(channels, filters) + 1)
        if channels % count == filters % count == 0
    ]
    fits = groups in fitting
    chips = "".join(
        _chip(f"{count}", {"sizes": (channels, filters, kernel, count)}, count == groups) for count in fitting
    )
    presets = []
    for text, sizes in PRESETS.items():
        counts = {
            "standard": f"{convolution_parameters(sizes[2], *sizes[:2]):,}",
            "grouped": f"{_parameters(*sizes):,}",
        }
        chosen = sizes == (channels, filters, kernel, groups)
        presets.append(_chip(say(language, text, **counts), {"sizes": sizes}, chosen))

    standard = _convolution(
        channels,
        filters,
        1,
        say(language, "Standard convolution"),
        say(language, "Each filter sees every channel."),
        language,
    )
    if fits:
        seen = say(
            language,
            "Each filter sees only its group's channels: {share} of {channels}.",
            share=channels // groups,
            channels=channels,
        )
    else:
        seen = say(
            language,
            "{groups} groups do not divide {channels} channels and {filters} filters.",
            groups=groups,
            channels=channels,
            filters=filters,
        )
    title = say(language, "Grouped convolution, {groups} groups", groups=groups)
    grouped = _convolution(channels, filters, groups if fits else 0, title, seen, language)

    costs = [
        _parameters(channels, filters, kernel, 1),
        _parameters(channels, filters, kernel, groups) if fits else None,
    ]
    names = [say(language, "standard"), say(language, "grouped")]
    bars = _chart(say(language, "Parameters"), names, {"": costs}, lambda count: f"{count:,}")
    adds = [cost and cost * _SIDE**2 for cost in costs]
    bars += _chart(say(language, "Multiply-adds on 56 × 56 pixels"), names, {"": adds}, _short)
    return (
        f'<div class="chips"><span>{html.escape(say(language, "Groups that divide both:"))}</span>{chips}</div>'
        f'<div class="chips"><span>{html.escape(say(language, "Examples:"))}</span>{"".join(presets)}</div>'
        f'<div class="tables pair">{standard}{grouped}{bars}</div>'
    )


def _parameters(channels: int, filters: int, kernel: int, groups: int) -> int:
    return convolution_parameters(kernel, channels, filters, groups)


def _chip(text: str, data: dict, chosen: bool) -> str:
    pressed = "true" if chosen else "false"
    return f'<button type="button" class="chip" data-pick="{html.escape(json.dumps(data))}" aria-pressed="{pressed}">{html.escape(text)}</button>'


def _convolution(channels: int, filters: int, groups: int, title: str, seen: str, language: str) -> str:
    """A convolution as wires and as a matrix; with 0 groups, one that cannot be."""
    wires, matrix = (
        _wires(channels, filters, groups, f"{title}. {seen}", language),
        _matrix(channels, filters, groups, language),
    )
    caption = f"<figcaption{'' if groups else ' class=impossible'}>{html.escape(seen)}</figcaption>"
    return f'<figure class="wires"><h3>{html.escape(title)}</h3><div class="views">{wires}{matrix}</div>{caption}</figure>'


def _wires(channels: int, filters: int, groups: int, alt: str, language: str) -> str:
    """Channels above, filters below, a line from each channel to each filter that sees it (SVG)."""
    drawn_channels, drawn_filters, drawn = channels, filters, max(groups, 1)
    if max(channels, filters) > _MAX_DRAWN:  # as many whole groups as can be told apart
        drawn = max(1, min(drawn, drawn * _MAX_DRAWN // max(channels, filters)))
        drawn_channels = min(channels // max(groups, 1) * drawn, _MAX_DRAWN)
        drawn_filters = min(filters // max(groups, 1) * drawn, _MAX_DRAWN)
    ups, downs = _places(drawn_channels), _places(drawn_filters)

    def colour(index: int, count: int) -> str:
        return f"g{index * drawn // count % _COLOURS}" if groups else "none"

    lines = [
        f'<line class="{colour(i, drawn_channels)}" x1="{x:.1f}" y1="34" x2="{y:.1f}" y2="126"/>'
        for i, x in enumerate(ups)
        for j, y in enumerate(downs)
        if groups and i * drawn // drawn_channels == j * drawn // drawn_filters
    ]
    opacity = max(0.25, min(1, 6 / math.sqrt(len(lines) + 1)))
    dots = [
        f'<circle class="{colour(i, drawn_channels)}" cx="{x:.1f}" cy="30" r="4"/>' for i, x in enumerate(ups)
    ]
    dots += [
        f'<rect class="{colour(i, drawn_filters)}" x="{x - 4:.1f}" y="126" width="8" height="8"/>'
        for i, x in enumerate(downs)
    ]
    more = [
        "" if drawn_count == count else " …"
        for drawn_count, count in ((drawn_channels, channels), (drawn_filters, filters))
    ]
    words = (
        f'<text x="160" y="14">{channels} {html.escape(say(language, "input channels"))}{more[0]}</text>'
        f'<text x="160" y="152">{filters} {html.escape(say(language, "filters"))}{more[1]}</text>'
    )
    return (
        f'<svg viewBox="0 0 320 162" role="img" aria-label="{html.escape(alt)}">'
        f'<g opacity="{opacity:.2f}">{"".join(lines)}</g>{"".join(dots)}{words}</svg>'
    )


def _places(count: int) -> np.ndarray:
    return np.array([160.0]) if count == 1 else np.linspace(12, 308, count)


def _matrix(channels: int, filters: int, groups: int, language: str) -> str:
    """The kernel as a matrix of filters by channels: the blocks of the groups on its diagonal, zeros elsewhere (SVG)."""
    cell = 112 / max(channels, filters)
    width, height = max(cell * channels, 6), max(cell * filters, 6)
    room = max(height + 34, 90)  # for the words, too
    left, top = 24 + (112 - width) / 2, (room + 20 - height) / 2
    wide, high = width / max(groups, 1), height / max(groups, 1)
    blocks = "".join(
        f'<rect class="g{group % _COLOURS}" x="{left + group * wide:.2f}" y="{top + group * high:.2f}" width="{wide:.2f}" height="{high:.2f}"/>'
        for group in range(groups)
    )
    grid = ""
    if max(channels, filters) <= _MAX_DRAWN:
        grid = "".join(
            f"M{left + i * width / channels:.2f} {top:.2f}v{height:.2f}" for i in range(1, channels)
        )
        grid += "".join(
            f"M{left:.2f} {top + i * height / filters:.2f}h{width:.2f}" for i in range(1, filters)
        )
    alt = say(language, "The kernel as a matrix of filters by channels: what is not coloured is zero.")
    return (
        f'<svg class="matrix" viewBox="0 0 150 {room:.0f}" role="img" aria-label="{html.escape(alt)}">'
        f'<rect class="zeros" x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"/>{blocks}<path class="grid" d="{grid}"/>'
        f'<text x="80" y="14">{html.escape(say(language, "channels"))} →</text>'
        f'<text x="{-room / 2 - 10:.0f}" y="14" transform="rotate(-90)">← {html.escape(say(language, "filters"))}</text></svg>'
    )


def _chart(title: str, series: list[str], rows: dict[str, list[float | None]], form) -> str:
    """Rows of bars to compare, one bar for each of the series, as a table that can be read aloud."""
    largest = max(value for values in rows.values() for value in values if value is not None)
    body = []
    for row, values in rows.items():
        for index, (name, value) in enumerate(zip(series, values)):
            head = (
                f'<th scope="rowgroup" rowspan="{len(series)}">{html.escape(row)}</th>'
                if row and not index
                else ""
            )
            label = f'<th scope="row" class="{"heard" if row else ""}">{html.escape(name)}</th>'
            bar = f'<span class="bar s{index}" style="width:{100 * (value or 0) / largest:.2f}%"></span>'
            body.append(
                f'<tr>{head}{label}<td class="track">{bar}</td><td>{"—" if value is None else form(value)}</td></tr>'
            )
        body.append("</tbody><tbody>")
    return f'<figure class="chart"><table><caption>{html.escape(title)}</caption><tbody>{"".join(body[:-1])}</tbody></table></figure>'


def _short(count: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            scaled = count / size
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {unit}"
    return f"{count:.0f}"


def forms(cardinality: int, language: str) -> str:
    """The three forms drawn as boxes and arrows."""
    drawings = ""
    for form, title in {"a": "paths, added", "b": "early concatenation", "c": "grouped convolution"}.items():
        name = f"({form}) {say(language, title)}"
        alt = say(
            language,
            "{form}: {cardinality} paths of width 4 from 256 channels to 256",
            form=name,
            cardinality=int(cardinality),
        )
        drawings += (
            f'<figure class="wires"><h3>{html.escape(name)}</h3>{_form(form, int(cardinality), alt)}</figure>'
        )
    return f'<div class="tables three">{drawings}</div>'


def _form(form: str, cardinality: int, alt: str) -> str:
    width, wide = 4, 4 * cardinality

    def box(x, y, text, group, breadth=74):
        return (
            f'<rect class="box g{group}" x="{x - breadth / 2}" y="{y}" width="{breadth}" height="24" rx="5"/>'
            f'<text x="{x}" y="{y + 16}">{text}</text>'
        )

    def arrow(x1, y1, x2, y2):
        return f'<line class="arrow" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'

    parts = []
    if form == "c":
        for y, text in ((40, f"1×1, {wide}"), (86, f"3×3, {wide}, C = {cardinality}"), (132, "1×1, 256")):
            parts.append(box(150, y, text, 0, 130))
        each = 120 / cardinality  # the groups, as a stripe under the box
        parts += [
            f'<rect class="g{group % _COLOURS}" x="{90 + group * each:.2f}" y="113" width="{max(each - 1, 1):.2f}" height="4"/>'
            for group in range(cardinality)
        ]
        parts += [
            arrow(150, 20, 150, 40),
            arrow(150, 64, 150, 86),
            arrow(150, 118, 150, 132),
            arrow(150, 156, 150, 190),
        ]
    else:
        columns = (55, 150, 245) if cardinality > 2 else (80, 220) if cardinality == 2 else (150,)
        joint = 132 if form == "b" else 190
        for group, x in enumerate(columns):
            parts += [box(x, 40, f"1×1, {width}", group), box(x, 86, f"3×3, {width}", group)]
            parts += [arrow(150, 20, x, 40), arrow(x, 64, x, 86)]
            if form == "a":
                parts += [box(x, 132, "1×1, 256", group), arrow(x, 110, x, 132), arrow(x, 156, 150, joint)]
            else:
                parts.append(arrow(x, 110, 150, joint))
        if cardinality > 3:
            parts += [
                f'<text x="198" y="{y}">…</text>' for y in ((56, 102, 148) if form == "a" else (56, 102))
            ]
        parts.append(f'<text x="60" y="16">C = {cardinality}</text>')
        if form == "b":
            parts += [box(150, 132, f"[{wide}] → 1×1, 256", 0, 130), arrow(150, 156, 150, 190)]
    parts.append(
        '<text x="150" y="16">256</text><circle class="box sum" cx="150" cy="200" r="10"/><text x="150" y="205">+</text>'
    )
    parts.append('<path class="arrow" d="M170 12 H292 V200 H160"/>')
    return f'<svg viewBox="0 0 304 216" role="img" aria-label="{html.escape(alt)}">{"".join(parts)}</svg>'


def run_forms(cardinality: int, language: str, seed: int = 0) -> str:
    """One unit of random weights in its three forms, on random numbers: their outputs and how far they are apart."""
    unit = FormC.random(256, int(cardinality), 4, seed)
    numbers = np.random.default_rng(seed + 1).standard_normal((1, 14, 14, 256)).astype(np.float32)
    form_b = c_to_b(unit)
    outputs = {"a": b_to_a(form_b)(numbers), "b": form_b(numbers), "c": unit(numbers)}
    largest = float(np.abs(outputs["c"]).max())
    difference = max(float(np.abs(output - outputs["c"]).max()) for output in outputs.values())
    busiest = int((outputs["c"][0] > 0).mean((0, 1)).argmax())
    figures = []
    for form, output in outputs.items():
        alt = say(
            language, "An output channel of form {form}: the three pictures look the same.", form=f"({form})"
        )
        caption = f"<strong>({form})</strong> <span>{', '.join(f'{value:.3f}' for value in output[0, 0, :3, busiest])} …</span>"
        figures.append(
            f"<figure>{Picture(_heat(output[0, :, :, busiest]), alt).html}<figcaption>{caption}</figcaption></figure>"
        )
    equals = '<span class="equals" aria-hidden="true">=</span>'
    facts = headline(
        {
            say(language, "largest difference"): _power(difference),
            say(language, "largest output"): f"{largest:.1f}",
        }
    )
    said = say(
        language,
        "The same random weights and inputs went through all three forms, of {cardinality} paths.",
        cardinality=int(cardinality),
    )
    return (
        f'<div class="equal" role="status">{equals.join(figures)}</div>{facts}{_scale(difference, largest, language)}'
        f'<p class="quiet">{html.escape(said)}</p>'
    )


def _heat(channel: np.ndarray) -> Image.Image:
    """A (height, width) float feature map, from white to dark blue."""
    share = np.clip(channel / max(float(channel.max()), 1e-9), 0, 1)[..., None]
    pixels = (1 - share) * (240, 246, 252, 255) + share * (0, 68, 136, 255)
    return Image.fromarray(np.rint(pixels).astype(np.uint8), "RGBA").resize(
        (168, 168), Image.Resampling.NEAREST
    )


def _power(number: float) -> str:
    """A small number as people write it: 2.4 × 10⁻⁶."""
    if not number:
        return "0"
    digits, exponent = f"{number:.1e}".split("e")
    return f"{digits} × 10{_raised(int(exponent))}"


def _raised(exponent: int) -> str:
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _scale(difference: float, largest: float, language: str) -> str:
    """Both numbers on a logarithmic line: how little the outputs differ (SVG)."""

    def place(number: float) -> float:
        return 20 + 36 * (min(max(math.log10(number or 1e-8), -8), 2) + 8)

    ticks = "".join(
        f'<path class="arrow" d="M{20 + 36 * step} 36v6"/><text x="{20 + 36 * step}" y="58">10{_raised(step - 8)}</text>'
        for step in range(0, 11, 2)
    )
    marks = "".join(
        f'<circle class="{colour}" cx="{place(number):.1f}" cy="36" r="6"/>'
        f'<text x="{min(max(place(number), 60), 345):.1f}" y="20">{html.escape(say(language, name))}</text>'
        for name, number, colour in (
            ("largest difference", difference, "g1"),
            ("largest output", largest, "g0"),
        )
    )
    alt = say(language, "Difference and output on a logarithmic scale")
    return f'<svg class="scale" viewBox="0 0 400 64" role="img" aria-label="{html.escape(alt)}"><path class="arrow" d="M20 36H380"/>{ticks}{marks}</svg>'


def equal_width(cardinality: int) -> int:
    """Bottleneck width at which that many paths cost most nearly what ResNet-50's one path of 64 does (equation 4 of the paper)."""
    return min(
        range(64, 0, -1), key=lambda width: abs(unit_parameters(cardinality, width) - unit_parameters(1, 64))
    )


def unit_parameters(cardinality: int, width: int) -> int:
    """Weights of a residual unit on 256 channels: C · (256 · d + 3 · 3 · d · d + d · 256)."""
    wide = cardinality * width
    return (
        convolution_parameters(1, 256, wide)
        + convolution_parameters(3, wide, wide, cardinality)
        + convolution_parameters(1, wide, 256)
    )


def beside(cardinality: int, language: str) -> str:
    """ResNet-50 beside ResNeXt-50 of a cardinality, stage by stage: parameters and multiply-adds as pairs of bars."""
    cardinality = int(cardinality)
    width, plain = equal_width(cardinality), find_architecture("resnet50")
    names = ["ResNet-50", f"ResNeXt-50 {cardinality}×{width}d"]
    networks = (plain, dataclasses.replace(plain, cardinality=cardinality, base_width=width))
    costs = [_stage_costs(network) for network in networks]
    chips = "".join(
        _chip(f"{count} × {each}d", {"cardinality": count}, count == cardinality)
        for count, each in TABLE_2.items()
    )
    charts = ""
    for kind, (title, form) in enumerate((("Parameters", _millions), ("Multiply-adds", _billions))):
        rows = {stage: [cost[stage][kind] for cost in costs] for stage in costs[0]}
        totals = [sum(values) for values in zip(*rows.values())]
        legend = "".join(
            f'<div><dt><span class="key s{index}"></span>{name}</dt><dd>{form(total)}</dd></div>'
            for index, (name, total) in enumerate(zip(names, totals))
        )
        chart = _chart(say(language, "by stage"), names, rows, form)
        charts += f'<section class="wires"><h3>{html.escape(say(language, title))}</h3><dl class="totals">{legend}</dl>{chart}</section>'
    return (
        f'<div class="chips"><span>{html.escape(say(language, "Table 2 of the paper:"))}</span>{chips}</div>'
        f'<div class="tables pair">{_units(cardinality, width, names, language)}{charts}</div>'
    )


def _millions(count: float) -> str:
    return f"{count / 1e6:.2f} M"


def _billions(count: float) -> str:
    return f"{count / 1e9:.3f} G"


def _units(cardinality: int, width: int, names: list[str], language: str) -> str:
    """The 3x3 convolution of a unit of each network as a strip of its paths."""
    parts, widest = [], 136  # channels of the widest unit that `equal_width` finds
    for index, (name, count, each) in enumerate(zip(names, (1, cardinality), (64, width))):
        cost = say(language, "{weights} weights in a unit", weights=f"{unit_parameters(count, each):,}")
        blocks = "".join(
            f'<rect class="s{index}" x="{path * each}" width="{each - 0.4}" height="10"/>'
            for path in range(count)
        )
        alt = say(language, "{count} paths of {width} channels", count=count, width=each)
        parts.append(
            f"<p><strong>{name}</strong> {count} × {each} = {count * each} · {html.escape(cost)}</p>"
            f'<svg class="strip" viewBox="0 0 {widest} 10" preserveAspectRatio="none" role="img" aria-label="{html.escape(alt)}">{blocks}</svg>'
        )
    seen = say(language, "More paths, each thinner, at nearly the same cost.")
    return (
        f'<figure class="wires wide"><h3>{html.escape(say(language, "Paths in a residual unit"))}</h3>{"".join(parts)}'
        f"<figcaption>{html.escape(seen)}</figcaption></figure>"
    )


@functools.lru_cache(maxsize=64)
def _stage_costs(architecture) -> dict[str, tuple[int, int]]:
    """Parameters and multiply-adds of each stage."""
    costs: dict[str, tuple[int, int]] = {}
    for module in network_modules(architecture, 1000):
        first = module.name.partition(".")[0]
        stage = first if first.startswith(("layer", "fc")) else "stem"
        parameters, adds = costs.get(stage, (0, 0))
        costs[stage] = parameters + module.parameters, adds + module.multiply_adds
    return costs
