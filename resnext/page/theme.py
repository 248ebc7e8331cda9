"""The look of the page: colors, Gradio theme, style sheets."""

import math
import pathlib

import gradio as gr

_STATIC = pathlib.Path(__file__).parent / "static"
# In the order of the cascade.
_STYLE_SHEETS = ("page.css", "classify.css", "inside.css", "card.css", "evaluation.css", "teach.css")

# The colors of resnext/plots.py. page.css replaces each of them in figures on a dark page.
INK = "#222222"
QUIET = "#6B6B6B"
RULE = "#DDDDDD"
TRAINING = "#EE7733"
VALIDATION = "#004488"
# The color scale of the confusion matrix: a blue whose opacity is the square root of the rate, so that rare
# confusions are visible on a light and on a dark page.
RATES = [
    [rate, f"rgba(43, 116, 184, {math.sqrt(rate):.3f})"] for rate in (0, 0.01, 0.04, 0.1, 0.2, 0.4, 0.7, 1)
]
LAYOUT = {
    "template": {"data": {"scatter": [{"type": "scatter"}]}},  # none of Plotly's own
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"color": INK, "family": "system-ui, sans-serif", "size": 13},
    "hoverlabel": {
        "bgcolor": "white",
        "bordercolor": RULE,
        "font": {"color": INK, "family": "system-ui, sans-serif"},
    },
}

BLUE = gr.themes.Color(
    "#F0F6FC",
    "#DCEAF7",
    "#C6DBEF",
    "#98C2E6",
    "#5B9BD0",
    "#2B74B8",
    "#1D5F9E",
    "#004488",
    "#00366D",
    "#00264D",
    "#001A36",
)
THEME = gr.themes.Default(
    primary_hue=BLUE,
    secondary_hue=BLUE,
    neutral_hue=gr.themes.colors.gray,
    radius_size=gr.themes.sizes.radius_lg,
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(
    body_background_fill="*neutral_50",
    body_text_color_subdued="*neutral_600",
    stat_background_fill="*primary_500",
    stat_background_fill_dark="*primary_500",
    block_border_width="1px",
    block_shadow="none",
)


def read_static(name: str) -> str:
    """The text of a file in resnext/page/static, such as "pick.js"."""
    return (_STATIC / name).read_text("utf-8")


CSS = "\n".join(read_static(name) for name in _STYLE_SHEETS)
