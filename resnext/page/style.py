"""How the page looks: colours, theme, CSS."""

import math

import gradio as gr

# The colours of training/figures.py; CSS turns each into its counterpart for a dark page.
INK, QUIET, RULE, TRAINING, VALIDATION = "#222222", "#6B6B6B", "#DDDDDD", "#EE7733", "#004488"
# A cell's blue lies over the page, light or dark; its opacity is the square root of the rate: rare confusions show.
RATES = [[rate, f"rgba(43, 116, 184, {math.sqrt(rate):.3f})"] for rate in (0, 0.01, 0.04, 0.1, 0.2, 0.4, 0.7, 1)]
LAYOUT = {
    "template": "none",
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"color": INK, "family": "system-ui, sans-serif", "size": 13},
    "hoverlabel": {"bgcolor": "white", "bordercolor": RULE, "font": {"color": INK, "family": "system-ui, sans-serif"}},
}

BLUE = gr.themes.Color(
    "#F0F6FC", "#DCEAF7", "#C6DBEF", "#98C2E6", "#5B9BD0", "#2B74B8", "#1D5F9E", "#004488", "#00366D", "#00264D", "#001A36"
)  # fmt: skip
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
CSS = """
.gradio-container > .main { max-width: 1120px; margin: 0 auto; }
.dark { --color-accent: var(--primary-400); --link-text-color: var(--primary-400); }
.html-container { padding: 0 !important; }
button:focus-visible, summary:focus-visible, .scroll:focus-visible {
  outline: 2px solid var(--color-accent) !important; outline-offset: -2px; }
footer .divider { display: none; }
.masthead { padding: .5rem 0 0; }
.masthead h1 { font-size: clamp(1.6rem, 6vw, 2.25rem); line-height: 1.15; font-weight: 700; letter-spacing: -.02em;
  margin: 0 0 .7rem; overflow-wrap: anywhere; }
.masthead ul { display: flex; flex-wrap: wrap; gap: .4rem; list-style: none; margin: 0; padding: 0; }
.masthead li { margin: 0; padding: .15rem .7rem; border-radius: 99px; font-size: .8125rem; overflow-wrap: anywhere;
  background: var(--block-background-fill); border: 1px solid var(--border-color-primary); color: var(--body-text-color-subdued); }
.masthead li a { color: var(--link-text-color); text-decoration: none; padding: 0; }
.masthead li a:hover { text-decoration: underline; }
.notice { margin: 0; padding: .75rem 1rem; border-radius: var(--radius-lg); border-left: 4px solid #EE7733; overflow-wrap: anywhere;
  background: color-mix(in srgb, #EE7733 14%, var(--block-background-fill)); color: var(--body-text-color); }
.missing { padding: 2.5rem 1rem; text-align: center; color: var(--body-text-color-subdued); overflow-wrap: anywhere; }
.quiet { color: var(--body-text-color-subdued); font-size: .8125rem; white-space: pre-line; overflow-wrap: anywhere; }
.seconds { text-align: right; margin: -.6rem .2rem 0 0; }
.confidence-set * { font-family: var(--font); }
.gallery-item img { width: 84px !important; height: 84px !important; object-fit: cover; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: var(--layout-gap); margin: 0; }
.figures div { padding: .8rem 1.1rem; }
.figures div, .scroll { background: var(--block-background-fill);
  border: 1px solid var(--border-color-primary); border-radius: var(--block-radius); }
.figures dt { color: var(--body-text-color-subdued); font-size: .8125rem; }
.figures dd { margin: 0; font-size: 1.6rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  gap: 1.5rem var(--layout-gap); align-items: start; }
.title { font-size: 1.05rem; font-weight: 650; margin: 0 0 .5rem; }
.scroll { overflow: auto; }
.scroll:has(thead) { max-height: 36rem; }
.scroll table { width: 100%; border-collapse: collapse; margin: 0; font-size: .875rem; font-variant-numeric: tabular-nums; }
.scroll table, .scroll thead, .scroll tbody, .scroll tr { border: 0 !important; }
.scroll th, .scroll td { border: 0 !important; padding: .45rem .7rem; text-align: left; overflow-wrap: anywhere; }
.scroll td:not(.number) { min-width: 6.5rem; }
.scroll td, .scroll tbody th { border-top: 1px solid var(--border-color-primary) !important; }
.scroll table > tbody:first-child > tr:first-child > * { border-top: 0 !important; }
.scroll thead th { position: sticky; top: 0; background: var(--background-fill-secondary); font-weight: 600; }
.scroll tbody th { font-weight: 400; color: var(--body-text-color-subdued); }
.scroll .number { text-align: right !important; white-space: nowrap; }
.right, .wrong { white-space: nowrap; font-weight: 600; }
.right { color: #15803D; } .dark .right { color: #4ADE80; }
.wrong { color: #C2410C; } .dark .wrong { color: #FB923C; }
.curve [data-testid=plotly] { aspect-ratio: 5 / 4; }
.heatmap [data-testid=plotly] { aspect-ratio: 1; }
.js-plotly-plot .modebar { display: none; }
@media (max-width: 640px) { .curve [data-testid=plotly] { aspect-ratio: 4 / 5; } .photograph { height: 280px !important; } }
.dark .js-plotly-plot [style*="fill: rgb(34, 34, 34)"] { fill: #E4E4E7 !important; }
.dark .js-plotly-plot [style*="fill: rgb(107, 107, 107)"] { fill: #A1A1AA !important; }
.dark .js-plotly-plot [style*="stroke: rgb(107, 107, 107)"] { stroke: #A1A1AA !important; }
.dark .js-plotly-plot [style*="stroke: rgb(221, 221, 221)"] { stroke: #3F3F46 !important; }
.dark .js-plotly-plot [style*="fill: rgb(0, 68, 136)"] { fill: #7DB3EC !important; }
.dark .js-plotly-plot [style*="stroke: rgb(0, 68, 136)"] { stroke: #7DB3EC !important; }
.dark .js-plotly-plot .hoverlayer [style*="fill: rgb(255, 255, 255)"] { fill: #27272A !important; }
"""
CSS += """
.answer { font-size: 1.05rem; margin: .2rem 0 0; overflow-wrap: anywhere; }
.why { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1rem; align-items: start; }
.why figure { margin: 0; } .why img { width: 100%; display: block; margin: 0; border-radius: 6px; }
.why figcaption, .pictures figcaption, .wires figcaption { font-size: .8125rem; color: var(--body-text-color-subdued);
  margin-top: .4rem; overflow-wrap: anywhere; }
.seen { position: relative; overflow: hidden; border-radius: 6px; }
.frame { position: absolute; aspect-ratio: 1; box-shadow: 0 0 0 4000px rgba(0, 0, 0, .45); outline: 2px solid white; }
.frame img { opacity: var(--heat, .7); border-radius: 0; height: 100%; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .8rem; }
.pictures figure { margin: 0; } .pictures img { width: 100%; margin: 0; border-radius: 6px; image-rendering: pixelated; }
.wires { margin: 0; padding: .9rem; border: 1px solid var(--border-color-primary); border-radius: var(--block-radius);
  background: var(--block-background-fill); }
.wires h3 { margin: 0 0 .4rem; font-size: .95rem; } .wires svg { width: 100%; max-width: 420px; display: block; margin: auto; }
.wires text { fill: var(--body-text-color); font-size: 11px; text-anchor: middle; }
.wires line, .wires path { stroke-width: 1; fill: none; } .arrow { stroke: var(--body-text-color-subdued); }
.box { fill: var(--background-fill-secondary); stroke-width: 1.5; }
.three { grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); }
.scroll .stage { white-space: nowrap; }
.found { margin: .6rem 0; } .bar { display: block; height: 4px; border-radius: 2px; margin-left: auto; min-width: 1px; }
.card { overflow-wrap: anywhere; max-width: 48rem; } .card img { max-width: 100%; } .card pre { overflow: auto; }
.card table { display: block; overflow: auto; }
.square [data-testid=plotly] { aspect-ratio: 1; }
@media (max-width: 640px) { .why { grid-template-columns: 1fr; } }
"""
