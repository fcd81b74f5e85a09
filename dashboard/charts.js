"use strict";
// Charts: how they look. This file does not know where the figures come from.

const span = 300, least = 10; // a chart shows at most and at least this many seconds
const left = 52, right = 10, above = 8, below = 20, high = 150; // px around the lines, and the height of the chart
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

// Units say how to write a number, and which scale suits it.
const units = {
  count: { write: writeWhole, whole: true, base: 10 },
  rate: { write: writeWhole, whole: true, base: 10 },
  bytes: { write: writeBytes, whole: true, base: 2 },
  byteRate: { write: writeBytes, base: 2 },
  seconds: { write: writeSeconds, base: 10 },
};
// writeWhole writes numbers of messages and ids, which are whole.
function writeWhole(n) { return n > 0 && n < 0.5 ? "<1" : compact.format(n < 1000 ? Math.round(n) : n); }
function writeBytes(n) {
  let unit = 0;
  for (; n >= 1000 && unit < 4; unit++) n /= 1024;
  if (!unit) n = Math.round(n);
  return `${Number(n.toPrecision(3))} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}
function writeSeconds(n) {
  if (n === 0) return "0";
  const [factor, unit] = n < 0.001 ? [1e6, "µs"] : n < 1 ? [1e3, "ms"] : [1, "s"];
  return `${Number((n * factor).toPrecision(2))} ${unit}`;
}
// writeTime writes a time of day, such as 9:05, like the page of examples/push.
function writeTime(at) {
  const time = new Date(at);
  return `${time.getHours()}:${String(time.getMinutes()).padStart(2, "0")}`;
}
// writeAgo writes how many seconds ago something was.
function writeAgo(seconds) { return !seconds ? "now" : seconds % 60 ? `−${seconds} s` : `−${seconds / 60} min`; }
// ceiling returns the upper end of a scale for n.
function ceiling(n, unit) {
  if (!(n > 0)) return unit.base === 2 ? 1024 : unit === units.seconds ? 0.001 : 1;
  if (unit.base === 2) return Math.max(1024, 2 ** Math.ceil(Math.log2(n)));
  const power = 10 ** Math.floor(Math.log10(n));
  const top = [1, 2, 5, 10].find(f => f * power >= n * 0.9999) * power;
  return unit.whole ? Math.max(1, top) : top;
}

// make returns an element. Strings become text nodes, never markup.
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A Chart is a figure with lines. For people who cannot see the lines, it also has a table of their
// values. Each series is {name, value(sample, ...)}; see dashboard.js.
class Chart {
  constructor({ title, note, unit, series }) {
    Object.assign(this, { title, series, unit: units[unit] });
    this.svg = draw("svg", { role: "img" });
    this.cells = series.map(() => ["now", "min", "avg", "max"].map(() => make("td")));
    const rows = series.map((s, i) => make("tr", {}, make("th", { scope: "row" }, swatch(i), s.name), ...this.cells[i]));
    const heads = ["", "now", "min", "avg", "max"].map(head => head ? make("th", { scope: "col" }, head) : make("td"));
    this.figure = make("figure", { class: "chart card" },
      make("figcaption", {}, make("h3", {}, title), make("p", {}, note)), this.svg,
      make("table", { "aria-label": title }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
  }

  // show draws the points of each series, points[i] for series i. A point is {t, value}, oldest
  // first; value is null if there is none. The history begins at from, and fills the chart's width.
  show(points, from, now) {
    const long = Math.min(span, Math.max(least, now - from));
    const values = points.map(line => line.map(p => p.value).filter(v => v !== null));
    const top = ceiling(Math.max(0, ...values.map(all => all.reduce((a, b) => Math.max(a, b), 0))), this.unit);
    const width = Math.max(200, this.svg.clientWidth);
    const x = t => left + (width - left - right) * (1 - (now - t) / long);
    const y = v => above + (high - above - below) * (1 - v / top);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${high}`);
    this.svg.replaceChildren(...this.ground(x, y, top, long, now),
      ...points.map((line, i) => draw("path", { class: `series s${i}`, d: path(line, x, y) })));
    if (!values.some(all => all.length)) this.svg.append(label(left + (width - left - right) / 2, high / 2, "middle", "No figures yet"));
    this.tell(values, Math.min(span, now - from));
  }

  // ground returns the grid behind the lines.
  ground(x, y, top, long, now) {
    const all = [];
    for (const v of this.unit.whole && top % 2 ? [0, top] : [0, top / 2, top]) {
      all.push(draw("line", { class: "grid", x1: left, x2: x(now), y1: y(v), y2: y(v) }), label(left - 6, y(v) + 4, "end", this.unit.write(v)));
    }
    const step = [5, 10, 20, 30, 60, 120].find(s => long / s <= Math.min(5, (x(now) - left) / 60)) ?? span;
    for (let ago = 0; ago <= long + 1; ago += step) { // a sample is up to a second late
      const at = Math.max(left, x(now - ago));
      all.push(label(at, high - 4, !ago ? "end" : at < left + 20 ? "start" : "middle", writeAgo(ago)));
    }
    return all;
  }

  // tell writes the same values in words, and into the table.
  tell(values, seconds) {
    const words = values.map((all, i) => {
      const sum = all.reduce((a, b) => a + b, 0);
      const min = all.reduce((a, b) => Math.min(a, b), Infinity), max = all.reduce((a, b) => Math.max(a, b), 0);
      const four = (all.length ? [all.at(-1), min, sum / all.length, max] : []).map(this.unit.write);
      this.cells[i].forEach((cell, j) => { cell.textContent = four[j] ?? "–"; });
      return `${this.series[i].name}: ${all.length ? `now ${four[0]}, min ${four[1]}, avg ${four[2]}, max ${four[3]}` : "no figures"}`;
    });
    this.svg.setAttribute("aria-label", `${this.title}, the last ${Math.round(seconds)} seconds. ${words.join(". ")}.`);
  }
}

function label(x, y, anchor, text) { return draw("text", { x, y, "text-anchor": anchor }, text); }

// swatch shows the color and the dashes of a series.
function swatch(i) {
  return draw("svg", { class: "swatch", viewBox: "0 0 26 8", "aria-hidden": "true" }, draw("path", { class: `s${i}`, d: "M2 4H24" }));
}

// path joins the points. Where a value is missing, it has a break.
function path(points, x, y) {
  let d = "", pen = "M";
  for (const { t, value } of points) {
    if (value === null) {
      pen = "M";
      continue;
    }
    const at = `${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
    d += pen === "M" ? `M${at}L${at}` : `L${at}`; // a single point becomes a dot
    pen = "L";
  }
  return d;
}
