"""The drawings of the lesson: convolutions, blocks and costs as SVG and HTML."""

import html
import json
import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from resnext.page.arithmetic import (
    TABLE_2,
    block_weights,
    compared_networks,
    compute_forms,
    divisors,
    equal_width,
    kernel_weights,
    stage_costs,
)
from resnext.page.i18n import translate
from resnext.page.markup import Picture, headline

# Input channels, filters, kernel, groups.
PRESETS = {
    "From {standard} to {grouped} weights": (6, 3, 3, 3),
    "First 3 × 3 of ResNeXt-50: from {standard} to {grouped}": (128, 128, 3, 32),
}
FORMS = {"a": "aggregated paths", "b": "early concatenation", "c": "grouped convolution"}
# The classes g0 to g7 of the style sheet are the colors of groups.
_COLORS = 8
_MAX_DRAWN = 32
# Height and width of the feature map for which multiply-adds are counted.
_SIDE = 56
# The width in channels of the widest block that `equal_width` finds.
_WIDEST_BLOCK = 136
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# --- grouped convolution ---


def calculator(channels: int, filters: int, kernel: int, groups: int, language: str) -> str:
    """A standard and a grouped convolution: connections, weights and multiply-adds, as HTML.

    Args:
        channels: The number of input channels.
        filters: The number of filters.
        kernel: Height and width of the kernel.
        groups: The number of groups; it need not divide the others.
        language: "en" or "zh".
    """
    sizes = (channels, filters, kernel, groups)
    possible = groups in divisors(channels, filters)
    standard = _convolution(
        channels,
        filters,
        1,
        translate(language, "Standard convolution"),
        translate(language, "Each filter sees every channel."),
        language,
    )
    grouped = _convolution(
        channels,
        filters,
        groups if possible else 0,
        translate(language, "Grouped convolution, {groups} groups", groups=groups),
        _what_groups_see(channels, filters, groups, possible, language),
        language,
    )
    return (
        f"{_group_chips(sizes, language)}{_preset_chips(sizes, language)}"
        f'<div class="tables pair">{standard}{grouped}{_cost_charts(sizes, possible, language)}</div>'
    )


def _group_chips(sizes: tuple[int, int, int, int], language: str) -> str:
    channels, filters, kernel, groups = sizes
    chips = [
        _chip(f"{count}", {"sizes": (channels, filters, kernel, count)}, count == groups)
        for count in divisors(channels, filters)
    ]
    return _chips(translate(language, "Possible numbers of groups:"), chips)


def _preset_chips(sizes: tuple[int, int, int, int], language: str) -> str:
    chips = []
    for text, preset in PRESETS.items():
        standard = f"{kernel_weights(*preset[:3], 1):,}"
        grouped = f"{kernel_weights(*preset):,}"
        name = translate(language, text, standard=standard, grouped=grouped)
        chips.append(_chip(name, {"sizes": preset}, preset == sizes))
    return _chips(translate(language, "Examples:"), chips)


def _chips(title: str, chips: list[str]) -> str:
    return f'<div class="chips"><span>{html.escape(title)}</span>{"".join(chips)}</div>'


def _chip(text: str, data: dict, chosen: bool) -> str:
    """A button that sends the data to the server (static/pick.js)."""
    return (
        f'<button type="button" class="chip" data-pick="{html.escape(json.dumps(data))}" '
        f'aria-pressed="{"true" if chosen else "false"}">{html.escape(text)}</button>'
    )


def _what_groups_see(channels: int, filters: int, groups: int, possible: bool, language: str) -> str:
    if possible:
        text = "Each filter sees only its group's channels: {share} of {channels}."
        return translate(language, text, share=channels // groups, channels=channels)
    text = "{channels} channels and {filters} filters are not both divisible by {groups}."
    return translate(language, text, groups=groups, channels=channels, filters=filters)


def _cost_charts(sizes: tuple[int, int, int, int], possible: bool, language: str) -> str:
    channels, filters, kernel, _ = sizes
    standard = kernel_weights(channels, filters, kernel, 1)
    grouped = kernel_weights(*sizes) if possible else None
    names = [translate(language, "standard"), translate(language, "grouped")]
    title = translate(language, "Parameters")
    weights = _bar_chart(title, names, {"": [standard, grouped]}, lambda count: f"{count:,}")
    title = translate(language, "Multiply-adds on 56 × 56 pixels")
    counts = [standard * _SIDE**2, grouped * _SIDE**2 if possible else None]
    return weights + _bar_chart(title, names, {"": counts}, _three_digits)


def _convolution(channels: int, filters: int, groups: int, title: str, text: str, language: str) -> str:
    """A convolution as connections and as a matrix. With 0 groups, one that is impossible."""
    wires = _wires(channels, filters, groups, f"{title}. {text}", language)
    matrix = kernel_matrix(channels, filters, groups, language)
    caption = f"<figcaption{'' if groups else ' class=impossible'}>{html.escape(text)}</figcaption>"
    return (
        f'<figure class="wires"><h3>{html.escape(title)}</h3>'
        f'<div class="views">{wires}{matrix}</div>{caption}</figure>'
    )


def _wires(channels: int, filters: int, groups: int, alt: str, language: str) -> str:
    """Channels above, filters below, and a line from each channel to each filter that sees it (SVG)."""
    drawn_groups, drawn_channels, drawn_filters = _drawn(channels, filters, groups)
    above = _positions(drawn_channels)
    below = _positions(drawn_filters)

    def color(index: int, count: int) -> str:
        return f"g{index * drawn_groups // count % _COLORS}" if groups else "none"

    lines = [
        f'<line class="{color(i, drawn_channels)}" x1="{x:.1f}" y1="34" x2="{y:.1f}" y2="126"/>'
        for i, x in enumerate(above)
        for j, y in enumerate(below)
        if groups and i * drawn_groups // drawn_channels == j * drawn_groups // drawn_filters
    ]
    opacity = max(0.25, min(1, 6 / math.sqrt(len(lines) + 1)))
    dots = [
        f'<circle class="{color(i, drawn_channels)}" cx="{x:.1f}" cy="30" r="4"/>'
        for i, x in enumerate(above)
    ]
    squares = [
        f'<rect class="{color(i, drawn_filters)}" x="{x - 4:.1f}" y="126" width="8" height="8"/>'
        for i, x in enumerate(below)
    ]
    above_text = translate(language, "{count} input channels", count=channels)
    below_text = translate(language, "{count} filters", count=filters)
    more_channels = "" if drawn_channels == channels else " …"
    more_filters = "" if drawn_filters == filters else " …"
    return (
        f'<svg viewBox="0 0 320 162" role="img" aria-label="{html.escape(alt)}">'
        f'<g opacity="{opacity:.2f}">{"".join(lines)}</g>{"".join(dots + squares)}'
        f'<text x="160" y="14">{html.escape(above_text)}{more_channels}</text>'
        f'<text x="160" y="152">{html.escape(below_text)}{more_filters}</text></svg>'
    )


def _drawn(channels: int, filters: int, groups: int) -> tuple[int, int, int]:
    """How many groups, channels and filters are drawn: whole groups, as many as can be distinguished."""
    most = max(channels, filters)
    if most <= _MAX_DRAWN:
        return max(groups, 1), channels, filters
    drawn = max(1, min(max(groups, 1), max(groups, 1) * _MAX_DRAWN // most))
    drawn_channels = min(channels // max(groups, 1) * drawn, _MAX_DRAWN)
    drawn_filters = min(filters // max(groups, 1) * drawn, _MAX_DRAWN)
    return drawn, drawn_channels, drawn_filters


def _positions(count: int) -> np.ndarray:
    return np.array([160.0]) if count == 1 else np.linspace(12, 308, count)


def kernel_matrix(channels: int, filters: int, groups: int, language: str) -> str:
    """The kernel as a matrix, filters by channels: a block on the diagonal for each group (SVG)."""
    cell = 112 / max(channels, filters)
    width = max(cell * channels, 6)
    height = max(cell * filters, 6)
    # The words need room, too.
    room = max(height + 34, 90)
    left = 24 + (112 - width) / 2
    top = (room + 20 - height) / 2
    block_width = width / max(groups, 1)
    block_height = height / max(groups, 1)
    blocks = "".join(
        f'<rect class="g{group % _COLORS}" x="{left + group * block_width:.2f}" '
        f'y="{top + group * block_height:.2f}" width="{block_width:.2f}" height="{block_height:.2f}"/>'
        for group in range(groups)
    )
    grid = ""
    if max(channels, filters) <= _MAX_DRAWN:
        columns = (left + i * width / channels for i in range(1, channels))
        rows = (top + i * height / filters for i in range(1, filters))
        grid = "".join(f"M{x:.2f} {top:.2f}v{height:.2f}" for x in columns)
        grid += "".join(f"M{left:.2f} {y:.2f}h{width:.2f}" for y in rows)
    alt = translate(language, "The kernel as a matrix, filters by channels. Cells without color are zero.")
    zeros = f'x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}"'
    return (
        f'<svg class="matrix" viewBox="0 0 150 {room:.0f}" role="img" aria-label="{html.escape(alt)}">'
        f'<rect class="zeros" {zeros}/>{blocks}<path class="grid" d="{grid}"/>'
        f'<text x="80" y="14">{html.escape(translate(language, "channels"))} →</text>'
        f'<text x="{-room / 2 - 10:.0f}" y="14" transform="rotate(-90)">'
        f"← {html.escape(translate(language, 'filters'))}</text></svg>"
    )


# --- three forms of a block ---


def forms(cardinality: int, language: str) -> str:
    """The three forms of a block as boxes and arrows, as HTML."""
    drawings = []
    for form, title in FORMS.items():
        name = f"({form}) {translate(language, title)}"
        alt = translate(
            language,
            "{form}: {cardinality} paths of width 4, from 256 channels to 256 channels",
            form=name,
            cardinality=cardinality,
        )
        parts = _form_c(cardinality) if form == "c" else _paths(form, cardinality)
        drawings.append(
            f'<figure class="wires"><h3>{html.escape(name)}</h3>'
            f'<svg viewBox="0 0 304 216" role="img" aria-label="{html.escape(alt)}">{"".join(parts)}'
            '<text x="150" y="16">256</text><circle class="box sum" cx="150" cy="200" r="10"/>'
            '<text x="150" y="205">+</text><path class="arrow" d="M170 12 H292 V200 H160"/></svg></figure>'
        )
    return f'<div class="tables three">{"".join(drawings)}</div>'


def _box(x: int, y: int, text: str, group: int, width: int = 74) -> str:
    return (
        f'<rect class="box g{group}" x="{x - width / 2}" y="{y}" width="{width}" height="24" rx="5"/>'
        f'<text x="{x}" y="{y + 16}">{text}</text>'
    )


def _arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<line class="arrow" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _form_c(cardinality: int) -> list[str]:
    """Form (c): one column of boxes, with the groups as a stripe under the grouped convolution."""
    channels = 4 * cardinality
    width = 120 / cardinality
    stripe = [
        f'<rect class="g{group % _COLORS}" x="{90 + group * width:.2f}" y="113" '
        f'width="{max(width - 1, 1):.2f}" height="4"/>'
        for group in range(cardinality)
    ]
    return [
        _box(150, 40, f"1×1, {channels}", 0, 130),
        _box(150, 86, f"3×3, {channels}, C = {cardinality}", 0, 130),
        _box(150, 132, "1×1, 256", 0, 130),
        *stripe,
        _arrow(150, 20, 150, 40),
        _arrow(150, 64, 150, 86),
        _arrow(150, 118, 150, 132),
        _arrow(150, 156, 150, 190),
    ]


def _paths(form: str, cardinality: int) -> list[str]:
    """Form (a) or (b): a column of boxes for each path, of which at most three are drawn."""
    columns = {1: (150,), 2: (80, 220)}.get(cardinality, (55, 150, 245))
    parts = [f'<text x="60" y="16">C = {cardinality}</text>']
    for group, x in enumerate(columns):
        parts += [_box(x, 40, "1×1, 4", group), _box(x, 86, "3×3, 4", group)]
        parts += [_arrow(150, 20, x, 40), _arrow(x, 64, x, 86)]
        if form == "a":
            parts += [_box(x, 132, "1×1, 256", group), _arrow(x, 110, x, 132), _arrow(x, 156, 150, 190)]
        else:
            parts.append(_arrow(x, 110, 150, 132))
    if form == "b":
        parts += [_box(150, 132, f"[{4 * cardinality}] → 1×1, 256", 0, 130), _arrow(150, 156, 150, 190)]
    if cardinality > 3:
        heights = (56, 102, 148) if form == "a" else (56, 102)
        parts += [f'<text x="198" y="{y}">…</text>' for y in heights]
    return parts


def form_outputs(cardinality: int, language: str, seed: int = 0) -> str:
    """The outputs of the three forms for the same random weights and input, and their difference, as HTML.

    Args:
        cardinality: The number of paths.
        language: "en" or "zh".
        seed: The seed of weights and input.
    """
    result = compute_forms(cardinality, seed)
    figures = []
    for form, channel in result.channels.items():
        text = "One output channel of form {form}. All three pictures look the same."
        alt = translate(language, text, form=f"({form})")
        numbers = ", ".join(f"{value:.3f}" for value in channel[0, :3])
        figures.append(
            f"<figure>{Picture(_channel_picture(channel), alt).html}"
            f"<figcaption><strong>({form})</strong> <span>{numbers} …</span></figcaption></figure>"
        )
    equals = '<span class="equals" aria-hidden="true">=</span>'
    facts = headline(
        {
            translate(language, "largest difference"): _scientific(result.difference),
            translate(language, "largest output"): f"{result.largest:.1f}",
        }
    )
    text = translate(
        language,
        "All three forms have {cardinality} paths, the same random weights and the same random input.",
        cardinality=cardinality,
    )
    return (
        f'<div class="equal" role="status">{equals.join(figures)}</div>{facts}'
        f'{_scale(result.difference, result.largest, language)}<p class="quiet">{html.escape(text)}</p>'
    )


def _channel_picture(channel: np.ndarray) -> Image.Image:
    """A (height, width) float32 feature map, from white to dark blue."""
    share = np.clip(channel / max(float(channel.max()), 1e-9), 0, 1)[..., None]
    pixels = (1 - share) * (240, 246, 252, 255) + share * (0, 68, 136, 255)
    picture = Image.fromarray(np.rint(pixels).astype(np.uint8), "RGBA")
    return picture.resize((168, 168), Image.Resampling.NEAREST)


def _scientific(number: float) -> str:
    """A number in scientific notation, such as 2.4 × 10⁻⁶."""
    if not number:
        return "0"
    digits, exponent = f"{number:.1e}".split("e")
    return f"{digits} × 10{_superscript(int(exponent))}"


def _superscript(exponent: int) -> str:
    return str(exponent).translate(_SUPERSCRIPTS)


def _scale(difference: float, largest: float, language: str) -> str:
    """Both numbers on a logarithmic scale from 10⁻⁸ to 10² (SVG)."""

    def place(number: float) -> float:
        return 20 + 36 * (min(max(math.log10(number or 1e-8), -8), 2) + 8)

    ticks = "".join(
        f'<path class="arrow" d="M{20 + 36 * step} 36v6"/>'
        f'<text x="{20 + 36 * step}" y="58">10{_superscript(step - 8)}</text>'
        for step in range(0, 11, 2)
    )
    marks = "".join(
        f'<circle class="{color}" cx="{place(number):.1f}" cy="36" r="6"/>'
        f'<text x="{min(max(place(number), 60), 345):.1f}" y="20">'
        f"{html.escape(translate(language, name))}</text>"
        for name, number, color in (
            ("largest difference", difference, "g1"),
            ("largest output", largest, "g0"),
        )
    )
    alt = translate(language, "Difference and output on a logarithmic scale")
    return (
        f'<svg class="scale" viewBox="0 0 400 64" role="img" aria-label="{html.escape(alt)}">'
        f'<path class="arrow" d="M20 36H380"/>{ticks}{marks}</svg>'
    )


# --- ResNet-50 and ResNeXt-50 ---


def comparison(cardinality: int, language: str) -> str:
    """ResNet-50 and ResNeXt-50 of a cardinality, stage by stage, as HTML: parameters and multiply-adds."""
    width = equal_width(cardinality)
    names = ["ResNet-50", f"ResNeXt-50 {cardinality}×{width}d"]
    costs = [stage_costs(network) for network in compared_networks(cardinality)]
    chips = [
        _chip(f"{count} × {each}d", {"cardinality": count}, count == cardinality)
        for count, each in TABLE_2.items()
    ]
    charts = [
        _stage_chart(translate(language, title), index, form, names, costs, language)
        for index, (title, form) in enumerate((("Parameters", _millions), ("Multiply-adds", _billions)))
    ]
    return (
        f"{_chips(translate(language, 'Table 2 of the paper:'), chips)}"
        f'<div class="tables pair">{_block_strips(cardinality, names, language)}{"".join(charts)}</div>'
    )


def _stage_chart(title: str, index: int, form: Callable, names: list[str], costs: list, language: str) -> str:
    """One kind of cost: the totals of both networks, and bars by stage."""
    rows = {stage: [cost[stage][index] for cost in costs] for stage in costs[0]}
    totals = [sum(values) for values in zip(*rows.values())]
    legend = "".join(
        f'<div><dt><span class="key s{place}"></span>{name}</dt><dd>{form(total)}</dd></div>'
        for place, (name, total) in enumerate(zip(names, totals))
    )
    chart = _bar_chart(translate(language, "by stage"), names, rows, form)
    heading = f"<h3>{html.escape(title)}</h3>"
    return f'<section class="wires">{heading}<dl class="totals">{legend}</dl>{chart}</section>'


def _block_strips(cardinality: int, names: list[str], language: str) -> str:
    """The 3x3 convolution of a block of each network as a strip of its paths."""
    paths = ((1, 64), (cardinality, equal_width(cardinality)))
    parts = []
    for index, (name, (count, width)) in enumerate(zip(names, paths)):
        cost = translate(language, "{weights} weights per block", weights=f"{block_weights(count, width):,}")
        strip = "".join(
            f'<rect class="s{index}" x="{path * width}" width="{width - 0.4}" height="10"/>'
            for path in range(count)
        )
        alt = translate(language, "{count} paths of {width} channels", count=count, width=width)
        parts.append(
            f"<p><strong>{name}</strong> {count} × {width} = {count * width} · {html.escape(cost)}</p>"
            f'<svg class="strip" viewBox="0 0 {_WIDEST_BLOCK} 10" preserveAspectRatio="none" role="img" '
            f'aria-label="{html.escape(alt)}">{strip}</svg>'
        )
    title = html.escape(translate(language, "Paths in a residual block"))
    text = html.escape(translate(language, "More but narrower paths, at nearly the same cost."))
    return (
        f'<figure class="wires wide"><h3>{title}</h3>{"".join(parts)}<figcaption>{text}</figcaption></figure>'
    )


# --- charts ---


def _bar_chart(title: str, series: list[str], rows: dict[str, list[float | None]], form: Callable) -> str:
    """Groups of bars as a table that screen readers can read.

    Args:
        title: The title.
        series: The names of the bars in each row.
        rows: The values by the name of the row. None is a value that does not exist.
        form: Makes the text of a value.
    """
    largest = max(value for values in rows.values() for value in values if value is not None)
    groups = []
    for row, values in rows.items():
        bars = []
        for index, (name, value) in enumerate(zip(series, values)):
            head = ""
            if row and index == 0:
                head = f'<th scope="rowgroup" rowspan="{len(series)}">{html.escape(row)}</th>'
            label = f'<th scope="row" class="{"heard" if row else ""}">{html.escape(name)}</th>'
            width = 100 * (value or 0) / largest
            bar = f'<td class="track"><span class="bar s{index}" style="width:{width:.2f}%"></span></td>'
            bars.append(f"<tr>{head}{label}{bar}<td>{'—' if value is None else form(value)}</td></tr>")
        groups.append(f"<tbody>{''.join(bars)}</tbody>")
    return (
        f'<figure class="chart"><table><caption>{html.escape(title)}</caption>'
        f"{''.join(groups)}</table></figure>"
    )


def _three_digits(count: float) -> str:
    """A count with three digits and a unit, such as 508 k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            scaled = count / size
            decimals = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{decimals}f} {unit}"
    return f"{count:.0f}"


def _millions(count: float) -> str:
    return f"{count / 1e6:.2f} M"


def _billions(count: float) -> str:
    return f"{count / 1e9:.3f} G"
