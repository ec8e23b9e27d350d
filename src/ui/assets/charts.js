// Draws the charts of a page with uPlot. Without it, each has a small picture and a table.
//
// A figure with `data-chart` has the lines as JSON, and a box `.plot` that belongs to this script.
// Its legend has an item for each line, whose colour is the line's, and a place for the value under
// the pointer. A refresh of the page may change the lines, so they are read again afterwards.
const plots = new WeakMap();
const wholes = [1, 2, 5].flatMap((digit) => [...Array(12).keys()].map((power) => digit * 10 ** power)).sort((a, b) => a - b);

const size = (box) => ({ width: box.clientWidth, height: box.clientHeight });
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) plots.get(target.closest('figure'))?.plot.setSize(size(target));
});

function short(number) {
  if (number === 0 || (Math.abs(number) >= 1e-3 && Math.abs(number) < 1e6)) return String(+number.toPrecision(5));
  return number.toExponential(3).replace(/\.?0+e/, 'e');
}

function seconds(number) {
  if (number < 120) return `${short(number)} s`;
  if (number < 7200) return `${Math.floor(number / 60)} min ${Math.round(number % 60)} s`;
  return `${Math.floor(number / 3600)} h ${Math.floor((number % 3600) / 60)} min`;
}

const places = {
  step: (x) => `step ${x}`,
  time: (x) => `after ${seconds(x)}`,
  run: (x) => `run ${x}`,
};

// The colours and the font are those of the page, in its theme.
function look(figure, lines) {
  const style = getComputedStyle(figure);
  const of = (name) => style.getPropertyValue(name).trim();
  const colours = [...figure.querySelectorAll('.line-of')].map((it) => getComputedStyle(it).color);
  return { soft: of('--soft'), grid: of('--line'), sheet: of('--sheet'), font: `12px ${style.fontFamily}`, colours: lines.map((_, at) => colours[at] ?? of('--ink')) };
}

function options(figure, { over, log, lines }) {
  const { soft, grid, sheet, font, colours } = look(figure, lines);
  const axis = { stroke: soft, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, gap: 4 };
  const few = Math.max(...lines.map(([x]) => x.length)) <= 60;
  return {
    ...size(figure.querySelector('.plot')),
    padding: [10, 14, 0, 0],
    legend: { show: false },
    scales: { x: { time: false }, y: { distr: log ? 3 : 1, range: log ? undefined : room } },
    series: [{}, ...colours.map((stroke, at) => ({
      stroke, width: at ? 1.5 : 2.25, spanGaps: false,
      points: { show: few, size: at ? 4 : 6, fill: stroke },
    }))],
    axes: [
      { ...axis, size: 26, ...(over === 'time' ? { values: (_, all) => all.map(seconds), space: 80 } : { incrs: wholes, space: 44 }) },
      { ...axis, size: (_, all) => 16 + 7 * Math.max(2, ...(all ?? []).map((text) => String(text ?? '').length)), values: (_, all) => all.map((it) => (it == null ? '' : short(it))) },
    ],
    cursor: { y: false, points: { size: 7, width: 2, fill: () => sheet }, sync: { key: `charts-${over}` }, dataIdx: nearest },
    hooks: { setCursor: [(plot) => say(figure, over, plot)] },
  };
}

// A line that stays at one value is in the middle, and has values around it.
function room(_, least, most) {
  if (least == null) return [0, 1];
  const more = (most - least) * 0.08 || Math.abs(most) * 0.1 || 1;
  return [least - more, most + more];
}

// Of a line without a value at the pointer, the nearest one counts.
function nearest(plot, line, at) {
  const values = plot.data[line];
  if (values[at] != null) return at;
  for (let far = 1; far < values.length; far += 1) {
    if (values[at - far] != null) return at - far;
    if (values[at + far] != null) return at + far;
  }
  return at;
}

function say(figure, over, plot) {
  const { idx, idxs } = plot.cursor;
  figure.querySelector('.at-place').textContent = idx == null ? '' : places[over](over === 'time' ? plot.data[0][idx] : +plot.data[0][idx].toPrecision(12));
  figure.querySelectorAll('.at').forEach((it, line) => {
    const value = idx == null ? undefined : plot.data[line + 1]?.[idxs[line + 1]];
    it.textContent = value == null ? '' : short(value);
  });
}

function draw(figure) {
  const old = plots.get(figure), text = figure.dataset.chart;
  if (old?.text === text) return;
  const chart = JSON.parse(text);
  const data = uPlot.join(chart.lines);
  const shape = [chart.over, chart.log, chart.lines.length].join();
  if (old?.shape === shape) {
    old.plot.setData(data);
    old.text = text;
    return;
  }
  old?.plot.destroy();
  const box = figure.querySelector('.plot');
  if (!old) { box.replaceChildren(); resized.observe(box); }
  plots.set(figure, { plot: new uPlot(options(figure, chart), data, box), text, shape });
}

function drawAll() {
  for (const figure of document.querySelectorAll('[data-chart]')) draw(figure);
}

function drawAnew() {
  for (const figure of document.querySelectorAll('[data-chart]')) {
    const old = plots.get(figure);
    if (old) old.text = old.shape = '';
  }
  drawAll();
}

drawAll();
addEventListener('refreshed', drawAll);
// Paper has the colours of a light theme.
for (const media of ['(prefers-color-scheme: dark)', 'print']) matchMedia(media).addEventListener('change', drawAnew);
