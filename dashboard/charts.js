"use strict";
// Charts: what one looks like. Nothing here knows where figures come from.

const span = 300; // seconds that a chart shows
const left = 52, right = 10, above = 8, below = 20, high = 150; // px around the lines, and of the whole
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

// Units say how a number is written, and which scale suits it.
const units = {
  count: { write: n => compact.format(n), whole: true, base: 10 },
  rate: { write: n => compact.format(n), base: 10 },
  bytes: { write: writeBytes, whole: true, base: 2 },
  byteRate: { write: writeBytes, base: 2 },
  seconds: { write: writeSeconds, base: 10 },
};
function writeBytes(n) {
  let unit = 0;
  for (; n >= 1000 && unit < 4; unit++) n /= 1024;
  return `${Number(n.toPrecision(3))} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}
function writeSeconds(n) {
  if (n === 0) return "0";
  const [factor, unit] = n < 0.001 ? [1e6, "µs"] : n < 1 ? [1e3, "ms"] : [1, "s"];
  return `${Number((n * factor).toPrecision(2))} ${unit}`;
}
// ceiling returns the end of a scale that n fits on.
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

// A Chart is a figure with its lines and, for those who do not see them, a table
// of the same. Each series is {name, value(sample, ...)}; see dashboard.js.
class Chart {
  constructor({ title, note, unit, series }) {
    Object.assign(this, { title, series, unit: units[unit] });
    this.svg = draw("svg", { role: "img" });
    this.cells = series.map(() => ["now", "least", "mean", "most"].map(() => make("td")));
    const rows = series.map((s, i) => make("tr", {}, make("th", { scope: "row" }, swatch(i), s.name), ...this.cells[i]));
    const heads = ["", "now", "least", "mean", "most"].map(head => head ? make("th", { scope: "col" }, head) : make("td"));
    this.figure = make("figure", { class: "chart card" },
      make("figcaption", {}, make("h3", {}, title), make("p", {}, note)), this.svg,
      make("table", { "aria-label": title }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
  }

  // show draws points[i], those of series i: {t, value}, oldest first, with null
  // for a moment at which there is no value. from is when the history begins.
  show(points, from, now) {
    const values = points.map(line => line.map(p => p.value).filter(v => v !== null));
    const top = ceiling(Math.max(0, ...values.map(all => all.reduce((a, b) => Math.max(a, b), 0))), this.unit);
    const width = Math.max(200, this.svg.clientWidth);
    const x = t => left + (width - left - right) * (1 - (now - t) / span);
    const y = v => above + (high - above - below) * (1 - v / top);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${high}`);
    this.svg.replaceChildren(...this.ground(x, y, top, Math.max(from, now - span), now),
      ...points.map((line, i) => draw("path", { class: `series s${i}`, d: path(line, x, y) })));
    this.tell(values, Math.min(span, now - from));
  }

  // ground is what lies below the lines: the time before the history, and the grid.
  ground(x, y, top, from, now) {
    const all = [];
    if (from > now - span) {
      const edge = x(from);
      all.push(draw("rect", { class: "void", x: left, y: above, width: Math.max(0, edge - left), height: y(0) - above }));
      if (edge - left > 90) all.push(label((left + edge) / 2, y(top / 4) + 4, "middle", "not recorded"));
    }
    for (const v of this.unit.whole && top < 2 ? [0, top] : [0, top / 2, top]) {
      all.push(draw("line", { class: "grid", x1: left, x2: x(now), y1: y(v), y2: y(v) }), label(left - 6, y(v) + 4, "end", this.unit.write(v)));
    }
    for (let minute = 5; minute >= 0; minute--) {
      const anchor = minute === 5 ? "start" : minute ? "middle" : "end";
      all.push(label(x(now - 60 * minute), high - 4, anchor, minute === 5 ? "−5 min" : minute ? `−${minute}` : "now"));
    }
    return all;
  }

  // tell puts the same into words, and into the table.
  tell(values, seconds) {
    const words = values.map((all, i) => {
      const sum = all.reduce((a, b) => a + b, 0);
      const low = all.reduce((a, b) => Math.min(a, b), Infinity), most = all.reduce((a, b) => Math.max(a, b), 0);
      const four = (all.length ? [all.at(-1), low, sum / all.length, most] : []).map(this.unit.write);
      this.cells[i].forEach((cell, j) => { cell.textContent = four[j] ?? "–"; });
      return `${this.series[i].name}: ${all.length ? `now ${four[0]}, least ${four[1]}, most ${four[3]}` : "no figures"}`;
    });
    this.svg.setAttribute("aria-label", `${this.title}, the last ${Math.round(seconds)} seconds. ${words.join(". ")}.`);
  }
}

function label(x, y, anchor, text) { return draw("text", { x, y, "text-anchor": anchor }, text); }

// swatch shows how a series is drawn, by its dashes too.
function swatch(i) {
  return draw("svg", { class: "swatch", viewBox: "0 0 26 8", "aria-hidden": "true" }, draw("path", { class: `s${i}`, d: "M2 4H24" }));
}

// path joins the points; it is broken where there is none.
function path(points, x, y) {
  let d = "", pen = "M";
  for (const { t, value } of points) {
    if (value === null) {
      pen = "M";
      continue;
    }
    const at = `${x(t).toFixed(1)} ${y(value).toFixed(1)}`;
    d += pen === "M" ? `M${at}L${at}` : `L${at}`; // a point alone is a dot
    pen = "L";
  }
  return d;
}
