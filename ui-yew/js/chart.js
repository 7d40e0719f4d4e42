// Draws time series with uPlot, which the page has loaded as the global `uPlot`.
//
// What is drawn comes from Rust as one JSON text (see src/widgets/chart.rs); here are only pixels: colours
// from the style sheet's custom properties, sizes from the element, a tooltip that follows the pointer.

const SIZE = { height: 220, axis: 56 };

const FORMATS = {
  count: (v) => short(v),
  usd: (v) => (v === 0 ? "$0" : v < 1 ? `$${decimal(v)}` : `$${v < 100 ? v.toFixed(2) : short(v)}`),
  ms: (v) => (v >= 1000 ? `${(v / 1000).toPrecision(3)} s` : `${v >= 100 ? Math.round(v) : +v.toPrecision(3)} ms`),
  percent: (v) => `${+v.toPrecision(3)} %`,
};

// Three digits that count, never as 1e-7, and no zeros at the end.
const decimal = (v) => v.toFixed(Math.min(9, 2 - Math.floor(Math.log10(v)))).replace(/0+$/, "");

function short(v) {
  for (const [step, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(v) >= step) return `${+(v / step).toPrecision(3)} ${unit}`;
  }
  return `${+v.toPrecision(3)}`;
}

// Times are in UTC, as everywhere in the console.
const written = (options) => {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hourCycle: "h23", ...options });
  return (seconds) => format.format(new Date(seconds * 1000));
};
const DAY = written({ day: "numeric", month: "short" });
const MINUTE = written({ hour: "2-digit", minute: "2-digit" });
const DAY_SECONDS = 86400;

// The day stands below the first time of each day; alone where there is a label for each day.
function timeLabels(splits, increment) {
  let last = null;
  return splits.map((v) => {
    if (increment >= DAY_SECONDS) return DAY(v);
    const day = DAY(v);
    const label = day === last ? MINUTE(v) : `${MINUTE(v)}\n${day}`;
    last = day;
    return label;
  });
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Each series becomes the sum of itself and those below it; the highest is painted first. Nothing is no bar.
function stacked(values) {
  const sums = [];
  values.forEach((series, i) => {
    sums.push(series.map((v, at) => (v ?? 0) + (i > 0 ? sums[i - 1][at] ?? 0 : 0) || null));
  });
  return sums;
}

// A value between two gaps makes no line: it is drawn as a point.
function lonely(u, at) {
  const values = u.data[at];
  return values.flatMap((v, i) => (v != null && values[i - 1] == null && values[i + 1] == null ? [i] : []));
}

function tooltip(spec, format) {
  let box;
  return {
    hooks: {
      init: (u) => {
        box = document.createElement("div");
        box.className = "sl-chart-tip";
        box.hidden = true;
        u.over.appendChild(box);
        u.over.addEventListener("mouseleave", () => { box.hidden = true; });
      },
      setCursor: (u) => {
        const at = u.cursor.idx;
        if (at == null || u.cursor.left < 0) { box.hidden = true; return; }
        box.replaceChildren(line("sl-chart-tip-time", null, moment(spec.times[at], spec), ""));
        spec.series.forEach((series, i) => {
          const value = spec.values[i][at];
          box.append(line("", colour(i, series), series.label, value == null ? "–" : format(value)));
        });
        box.hidden = false;
        const right = u.cursor.left > u.over.clientWidth / 2;
        box.style.left = right ? "" : `${u.cursor.left + 14}px`;
        box.style.right = right ? `${u.over.clientWidth - u.cursor.left + 14}px` : "";
        box.style.top = "4px";
      },
    },
  };
}

function line(className, dot, label, value) {
  const row = document.createElement("div");
  row.className = `sl-chart-tip-line ${className}`;
  if (dot) {
    const mark = document.createElement("i");
    mark.style.background = dot;
    row.append(mark);
  }
  const name = document.createElement("span");
  name.textContent = label;
  const number = document.createElement("b");
  number.textContent = value;
  row.append(name, number);
  return row;
}

const moment = (seconds, spec) =>
  spec.step >= DAY_SECONDS ? `${DAY(seconds)} UTC` : `${DAY(seconds)}, ${MINUTE(seconds)} UTC`;

const colour = (i, series) => style(series.color ?? `--sl-series-${(i % 8) + 1}`);

export class Chart {
  constructor(element, json) {
    this.element = element;
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(element);
    this.update(json);
  }

  update(json) {
    const spec = JSON.parse(json);
    const format = FORMATS[spec.unit];
    this.plot?.destroy();
    const sums = spec.stacked ? stacked(spec.values) : spec.values;
    const order = spec.series.map((_, i) => i);
    if (spec.stacked) order.reverse();
    const series = order.map((i) => {
      const stroke = colour(i, spec.series[i]);
      return {
        label: spec.series[i].label,
        stroke,
        width: spec.stacked ? 1 : 2,
        fill: spec.stacked ? stroke : spec.filled ? `${stroke}22` : undefined,
        paths: spec.stacked ? uPlot.paths.bars({ size: [0.82, 40], align: 1 }) : uPlot.paths.spline(),
        points: spec.stacked ? { show: false } : { show: true, size: 6, fill: stroke, filter: lonely },
        spanGaps: false,
      };
    });
    const ink = style("--sl-chart-ink");
    const grid = { stroke: style("--sl-chart-grid"), width: 1 };
    const axis = { stroke: ink, grid, ticks: { show: false }, font: "12px RedHatText, sans-serif" };
    const options = {
      width: Math.max(this.element.clientWidth, 100),
      height: SIZE.height,
      padding: [12, 8, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false }, sync: { key: "sluice" } },
      scales: {
        x: { time: true, range: [spec.from, spec.to] },
        y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] },
      },
      series: [{}, ...series],
      axes: [
        { ...axis, grid: { show: false }, space: 70, size: 40, values: (_, splits, __, ___, step) => timeLabels(splits, step) },
        { ...axis, size: SIZE.axis, space: 40, values: (_, splits) => splits.map((v) => (v == null ? "" : format(v))) },
      ],
      plugins: [tooltip(spec, format)],
    };
    this.plot = new uPlot(options, [spec.times, ...order.map((i) => sums[i])], this.element);
  }

  fit() {
    const width = this.element.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: SIZE.height });
  }

  destroy() {
    this.observer.disconnect();
    this.plot?.destroy();
  }
}
