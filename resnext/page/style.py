"""How the page looks: colours, theme, CSS."""

import math

import gradio as gr

# The colours of training/figures.py; CSS turns each into its counterpart for a dark page.
INK, QUIET, RULE, TRAINING, VALIDATION = "#222222", "#6B6B6B", "#DDDDDD", "#EE7733", "#004488"
# A cell's blue lies over the page, light or dark; its opacity is the square root of the rate: rare confusions show.
RATES = [
    [rate, f"rgba(43, 116, 184, {math.sqrt(rate):.3f})"] for rate in (0, 0.01, 0.04, 0.1, 0.2, 0.4, 0.7, 1)
]
LAYOUT = {
    "template": "none",
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
.gallery { display: flex; flex-wrap: wrap; gap: .5rem; }
.gallery button { padding: 0; border: 0; border-radius: var(--radius-md); overflow: hidden; cursor: pointer; background: none; line-height: 0; }
.gallery img { width: 84px; height: 84px; object-fit: cover; margin: 0; transition: transform .15s; }
.gallery button:hover img { transform: scale(1.06); }
.as-csv { align-self: flex-start; width: auto !important; padding-inline: 1.5rem; }
.controls { align-items: center; }
.top { align-items: flex-start !important; justify-content: space-between; }
.choice { align-items: flex-end !important; justify-content: flex-end; padding-top: .5rem; }
.confidence-set .bar { height: .5rem !important; margin-bottom: .35rem !important; }
.confidence-set { margin-bottom: .8rem !important; }
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
.answer { font-size: 1.35rem; font-weight: 650; line-height: 1.3; letter-spacing: -.01em; margin: .2rem 0 0; overflow-wrap: anywhere; }
.answer.unsure { border-left: 4px solid #EE7733; padding-left: .8rem; font-weight: 500; font-size: 1.1rem; }
.why { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1rem; align-items: start; }
.why figure { margin: 0; } .why img { width: 100%; display: block; margin: 0; border-radius: 6px; }
.why figcaption, .pictures figcaption { font-size: .8125rem; color: var(--body-text-color-subdued);
  margin-top: .4rem; overflow-wrap: anywhere; }
.seen { position: relative; overflow: hidden; border-radius: 6px; }
.frame { position: absolute; box-shadow: 0 0 0 4000px rgba(0, 0, 0, .45); outline: 2px solid white; }
.frame img { opacity: var(--heat, .7); border-radius: 0; height: 100%; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .8rem; }
.pictures figure { margin: 0; } .pictures img { width: 100%; margin: 0; border-radius: 6px; image-rendering: pixelated; }
@media (max-width: 700px) {  /* the answer comes right after the photograph, then where else to take one from */
  .sides { flex-direction: column; } .sides > .column { display: contents; } .sides .form:has(.address), .sides .examples { order: 1; }
  .choice { justify-content: stretch; }
}
@media (max-width: 480px) { .why { grid-template-columns: 1fr; } }
"""
CSS += """
.lesson { margin-top: 1.5rem; } .lesson.first { margin-top: 0; }
.inside { --g0: #2B74B8; --g1: #D9620E; --g2: #228833; --g3: #AA3377; --g4: #8A6D00; --g5: #117788; --g6: #CC3311; --g7: #6655AA; }
.dark .inside {
  --g0: #5B9BD0; --g1: #F08A3C; --g2: #4CAF5A; --g3: #DD77AA; --g4: #C9A227; --g5: #3FB0C2; --g6: #F0674A; --g7: #A08FE0; }
.g0, .s0 { color: var(--g0); } .g1, .s1 { color: var(--g1); } .g2 { color: var(--g2); } .g3 { color: var(--g3); }
.g4 { color: var(--g4); } .g5 { color: var(--g5); } .g6 { color: var(--g6); } .g7 { color: var(--g7); }
.wires .none { color: var(--border-color-primary); }
.wires, .chart:not(.wires .chart) { margin: 0; padding: 1rem; border: 1px solid var(--border-color-primary);
  border-radius: var(--block-radius); background: var(--block-background-fill); min-width: 0; }
.wires h3 { margin: 0 0 .6rem; font-size: .95rem; font-weight: 600; }
.wires figcaption { font-size: .875rem; color: var(--body-text-color-subdued); margin-top: .5rem; overflow-wrap: anywhere; }
.wires .impossible { color: var(--body-text-color); font-weight: 600; }
.wires svg { width: 100%; max-width: 420px; display: block; margin: auto; } .wires .strip { max-width: none; height: 1.75rem; margin: 0 0 .8rem; }
.wires p { margin: 0 0 .3rem; font-size: .875rem; }
.wires.wide { grid-column: 1 / -1; }
.views { display: grid; grid-template-columns: 320fr 150fr; align-items: center; }
.wires text, .scale text { fill: var(--body-text-color); font-size: 11px; text-anchor: middle; }
.wires line, .wires path, .scale path { stroke: currentColor; stroke-width: 1; fill: none; }
.wires circle, .wires rect, .scale circle { fill: currentColor; }
.wires .arrow, .scale .arrow { stroke: var(--body-text-color-subdued); }
.wires .box { fill: var(--background-fill-secondary); stroke: currentColor; stroke-width: 1.5; }
.wires .sum { color: var(--body-text-color-subdued); }
.wires .zeros { fill: var(--background-fill-secondary); stroke: var(--border-color-primary); }
.wires .grid { stroke: var(--block-background-fill); stroke-width: .75; }
.pair { grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); align-items: stretch; gap: var(--layout-gap); }
.three { grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; align-items: center; margin: 0 0 .7rem; font-size: .875rem; }
.chips span { color: var(--body-text-color-subdued); margin-right: .2rem; }
.chip { padding: .2rem .75rem; min-width: 2.2rem; border-radius: 99px; font-variant-numeric: tabular-nums; cursor: pointer;
  background: var(--block-background-fill); border: 1px solid var(--border-color-primary); color: var(--body-text-color); }
.chip:hover { border-color: var(--color-accent); }
.chip[aria-pressed=true] { background: #2B74B8; border-color: #2B74B8; color: white; font-weight: 600; }
.centred { justify-content: center; }
.chart table { width: 100%; border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
.chart caption { text-align: left; font-weight: 600; font-size: .95rem; padding-bottom: .3rem; }
.wires .chart { margin: 0; }
.chart th { text-align: left; font-weight: 400; color: var(--body-text-color-subdued); padding: 0 .7rem 0 0; white-space: nowrap; width: 1%; }
.chart td { padding: .1rem 0; text-align: right; white-space: nowrap; width: 1%; } .chart .track { width: auto; padding-right: .7rem; }
.chart tbody + tbody tr:first-child > * { padding-top: .55rem; }
.chart .bar { display: block; height: .8rem; border-radius: 0 3px 3px 0; background: currentColor; min-width: 2px; }
.wires .chart caption, .chart .heard { position: absolute; width: 1px; height: 1px; padding: 0 !important; overflow: hidden; clip-path: inset(50%); }
.totals { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: 0 0 .8rem; }
.totals dt { font-size: .8125rem; color: var(--body-text-color-subdued); }
.totals dd { margin: 0; font-size: 1.3rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.totals .key { display: inline-block; width: .75em; height: .75em; border-radius: 2px; margin-right: .4em; background: currentColor; }
.equal { display: flex; justify-content: center; align-items: center; gap: clamp(.3rem, 2vw, 1.2rem); margin: .5rem 0 1rem; }
.equal figure { margin: 0; min-width: 0; } .equal img { width: 168px; max-width: 100%; margin: 0; border-radius: 6px; image-rendering: pixelated; }
.equal figcaption { font-size: .8125rem; color: var(--body-text-color-subdued); text-align: center; margin-top: .4rem; font-variant-numeric: tabular-nums; }
.equals { font-size: 2rem; font-weight: 650; padding-bottom: 1.6rem; }
.outputs .figures { max-width: 34rem; margin: 0 auto; } .outputs dd { font-size: 1.3rem; white-space: nowrap; } .outputs .quiet { text-align: center; }
.outputs .scale { display: block; width: 100%; max-width: 34rem; margin: 1rem auto .3rem; }
@media (max-width: 640px) { .views { grid-template-columns: 1fr; } .wires .matrix { max-width: 180px; } .equal figcaption span { display: none; } }
.card-row { flex-direction: row-reverse; align-items: start; } .card-row .cm-line span { color: var(--body-text-color) !important; }
.card { overflow-wrap: anywhere; min-width: 0; padding: clamp(1rem, 3vw, 2rem); line-height: 1.6; border: 1px solid var(--border-color-primary);
  border-radius: var(--block-radius); background: var(--block-background-fill); color: var(--body-text-color); }
.card > :first-child { margin-top: 0; } .card > :last-child { margin-bottom: 0; }
.card h2, .card h3, .card h4, .card h5, .card h6 { font-weight: 650; line-height: 1.3; margin: 1.6em 0 .6em; font-size: 1rem; }
.card h2 { font-size: 1.6rem; letter-spacing: -.01em; } .card h3 { font-size: 1.25rem; } .card h4 { font-size: 1.1rem; }
.card h3 { padding-bottom: .3em; border-bottom: 1px solid var(--border-color-primary); }
.card p, .card ul, .card ol, .card pre, .card blockquote, .card .scroll { margin: 0 0 1em; }
.card ul { list-style: disc; padding-left: 1.5em; } .card ol { list-style: decimal; padding-left: 1.5em; }
.card li > p { margin-bottom: .4em; }
.card a { color: var(--link-text-color); text-decoration: underline; padding: 0; margin: 0; display: inline; }
.card a:not([href]) { color: inherit; text-decoration: none; }
.card img { display: block; max-width: 100%; height: auto; border-radius: 6px; margin: .4rem 0; }
.card code { font-family: var(--font-mono); font-size: .875em; padding: .1em .35em; border-radius: 4px;
  background: color-mix(in srgb, var(--body-text-color) 9%, transparent); }
.card pre { padding: .8rem 1rem; overflow: auto; border-radius: var(--radius-md); border: 1px solid var(--border-color-primary);
  background: var(--background-fill-secondary); line-height: 1.5; }
.card pre code { padding: 0; background: none; white-space: pre; overflow-wrap: normal; } .card .plain { white-space: pre-wrap; }
.card pre:focus-visible { outline: 2px solid var(--color-accent); outline-offset: -2px; }
.card blockquote { border-left: 4px solid var(--border-color-primary); padding-left: 1rem; color: var(--body-text-color-subdued); }
.card hr { border: 0; border-top: 1px solid var(--border-color-primary); margin: 1.5em 0; }
.card .scroll { width: fit-content; max-width: 100%; } .card .scroll table { width: auto; } .card .scroll td:not(.number) { min-width: 0; }
.card .scroll th, .card .scroll td { overflow-wrap: normal; word-break: normal; }
.card .notice { margin: 0 0 1rem; }
"""
CSS += """
.test .title + .quiet { margin: -.3rem 0 0; }
.test, .explorer.has_children { gap: 1.5rem; }
.explorer .column > * { flex: none !important; } .cell > .cell-images { position: relative; flex: 1 1 20rem !important; }
.cell-images > .html-container, .cell-images .cell-images { position: static !important; }
.cell-images .fit { position: absolute; inset: 0; display: flex; flex-direction: column; }
.fit section { display: contents; } .fit .scroll { min-height: 0; max-height: none !important; }
@media (max-width: 720px) { .cell > .cell-images { flex: none !important; }
  .cell-images .fit { position: static; } .fit .scroll { max-height: 24rem !important; } }
.told { font-weight: 600; margin: 0 0 .6rem; overflow-wrap: anywhere; }
.fit .quiet { margin: -.4rem 0 .6rem; }
.album { display: grid; grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); gap: .8rem; padding: .8rem; }
.album figure { margin: 0; min-width: 0; }
.album img { width: 100%; aspect-ratio: 1; object-fit: cover; margin: 0; border-radius: 6px; display: block; }
.album figcaption { font-size: .75rem; line-height: 1.35; margin-top: .3rem; color: var(--body-text-color-subdued); }
.album figcaption > * { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.album b { font-weight: 600; color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.scroll th:has(button) { padding: 0; }
.scroll th button { background: none; border: 0; border-radius: 0; font: inherit; color: inherit; width: 100%; padding: .45rem .7rem; text-align: inherit; white-space: nowrap; cursor: pointer; }
.scroll th button::after { content: "↕"; opacity: .45; margin-left: .35em; }
.scroll th[aria-sort=ascending] button::after { content: "↑"; opacity: 1; }
.scroll th[aria-sort=descending] button::after { content: "↓"; opacity: 1; }
.per-class input { width: 100%; margin-bottom: .5rem; padding: .4rem .7rem; font-size: .875rem; border-radius: var(--radius-md);
  color: var(--body-text-color); background: var(--input-background-fill); border: 1px solid var(--border-color-primary); }
.sections { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1.5rem; }
.sections td img { width: 48px; height: 48px; object-fit: cover; border-radius: 6px; margin: 0; display: block; }
.sections td:has(img) { width: 1%; min-width: 4rem !important; padding-block: .3rem !important; }
.sections .scroll:has(img) { max-height: none; } .sections thead th { white-space: nowrap; }
.reliability [data-testid=plotly] { aspect-ratio: 16 / 9; }
@media (max-width: 640px) {
  .reliability [data-testid=plotly] { aspect-ratio: 4 / 3; } .sections table:has(img) th:first-child { font-size: 0; }
  .sections td, .sections th { font-size: .75rem; padding-inline: .35rem !important; overflow-wrap: normal !important; min-width: 0 !important; }
  .sections td:first-child { overflow-wrap: anywhere !important; min-width: 5rem !important; } .sections td:has(img) { min-width: 3.4rem !important; }
  .sections table:has(img) :is(th, td):nth-child(2) { display: none; }  /* the file's name: the picture has it, too */
  .per-class td, .per-class th { font-size: .8125rem; padding-inline: .4rem !important; overflow-wrap: break-word !important; min-width: 0 !important; }
  .per-class th:has(button) { padding: 0 !important; } .per-class th button { padding-inline: .4rem; } .per-class th[aria-sort=none] button::after { content: ""; }
  .cell, .per-class + .column { margin-top: .8rem; }
}
.per-class .scroll { max-height: 21rem !important; }
.figures div { display: grid; align-content: space-between; }
"""
