// A click on a cell of the confusion matrix chooses its two classes, while a double click resets the zoom.
// The chosen cell keeps its frame whenever the figure is drawn again.
let waiting = 0, reset = 0;
element.addEventListener('pointerdown', event => {
  const plot = event.target.closest('.heatmap .js-plotly-plot');
  if (!plot) return;
  const index = name => plot.layout.meta[plot.data[0].x.indexOf(name)];
  const delay = plot._context.doubleClickDelay;
  const patient = plot.layout.dragmode && event.pointerType === 'mouse';
  plot.removeAllListeners('plotly_click');
  plot.removeAllListeners('plotly_doubleclick');
  plot.on('plotly_click', ({ points: [{ x, y }] }) => {
    const choose = () => trigger('click', { true: index(y), predicted: index(x) });
    clearTimeout(waiting);
    if (!patient) choose();
    else if (Date.now() - reset > delay) waiting = setTimeout(choose, delay);
  });
  plot.on('plotly_doubleclick', () => { clearTimeout(waiting); reset = Date.now(); });
}, true);
const frame = () => {
  const plot = element.querySelector('.heatmap .js-plotly-plot');
  const summary = element.querySelector('[data-cell]');
  if (!plot?._fullLayout?.xaxis || !summary) return;
  plot.setAttribute('role', 'img');
  plot.setAttribute('aria-label', summary.dataset.description);
  const name = summary.dataset.cell;
  if (plot.layout.shapes?.[0]?.name === name) return;
  const [y, x] = name.split(' ').map(index => plot.layout.meta.indexOf(Number(index)));
  const line = { color: '#EE7733', width: 2.5 };
  Plotly.relayout(plot, { shapes: [{ type: 'rect', name, line, x0: x - .5, x1: x + .5, y0: y - .5, y1: y + .5 }] });
};
new MutationObserver(frame).observe(element, { childList: true, subtree: true });
