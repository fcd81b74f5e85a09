"use strict";
// The dashboard: asks for the figures, keeps five minutes of them, and shows them.

const pause = 1000, retry = 5000, patience = 5000; // ms between two requests, after a failure, and for an answer
const gap = 5; // after this many seconds without a sample, a line has a break
const recent = 30; // quantiles cover this many seconds, because the pool times only a few messages
const $ = id => document.getElementById(id);

// A sample is {t, all, pools}. pools has an array of figures for each pool, by name; all is their
// sum, but the maximum for the fullest outbox. Arrays keep five minutes of many pools small. Their
// order is:
const fields = ["connections", "waiting", "waiting_bytes", "fullest_outbox", "stalled", "accepted", "written", "forwarded", "undelivered",
  "written_bytes", "joins", "leaves", "takeovers", "mailbox_bytes"];
const why = ["not_connected", "slow", "deleted", "expired", "closed", "other"];
const reason = fields.length, latency = reason + why.length;
const fullest = fields.indexOf("fullest_outbox");
const at = name => fields.includes(name) ? fields.indexOf(name) : reason + why.indexOf(name);

// A page that was opened as https://user:password@host may not fetch an address relative to its own.
const address = `${location.origin}${location.pathname}?format=json`;
const seen = new Set(); // the start times of the processes that have answered

let samples = [], started = "", bounds = [], names = [], begun = "", because = "", paused = false, timer = 0, asked = 0;

function flatten(pool) {
  return Float64Array.from([...fields.map(f => pool[f]), ...why.map(r => pool.reasons[r]), ...pool.latency.counts]);
}

// The value of a series at sample i is null if it is unknown.
const level = (name, text = name) => ({ name: text, value: (s, i) => s[i].figures[at(name)] });
const rate = (name, text = name.replaceAll("_", " ")) => ({ name: text, value: (s, i) => perSecond(s[i - 1], s[i], at(name)) });
const quantile = (q, text) => ({ name: text, value: (s, i) => quantileAt(s, i, q) });

const specs = [
  { title: "Messages", note: "a second", unit: "rate", series: ["accepted", "written", "forwarded", "undelivered"].map(f => rate(f)) },
  { title: "Undelivered, by reason", note: "messages a second", unit: "rate", series: why.map(r => rate(r)) },
  { title: "Connections", note: "connected ids", unit: "count", series: [level("connections", "connected")] },
  { title: "Waiting", note: "messages without an outcome", unit: "count", series: [level("waiting")] },
  { title: "Bytes waiting", note: "payload of all ids, in the fullest outbox, and in the mailbox", unit: "bytes",
    series: [level("waiting_bytes", "waiting"), level("fullest_outbox", "fullest outbox"), level("mailbox_bytes", "mailbox")] },
  { title: "Slow peers", note: "peers that have held up a write for 5 ms or more", unit: "count", series: [level("stalled", "slow")] },
  { title: "From Add to written", note: `sampled over the last ${recent} s; 1.6 s means 1.6 s or more`, unit: "seconds",
    series: [quantile(0.5, "median"), quantile(0.99, "99 %")] },
  { title: "Joins and leaves", note: "ids a second", unit: "rate", series: [rate("joins"), rate("leaves"), rate("takeovers")] },
  { title: "Payload written", note: "bytes a second", unit: "byteRate", series: [rate("written_bytes", "written")] },
];
const charts = specs.map(spec => new Chart(spec));

function perSecond(before, now, i) {
  if (!before || now.t - before.t > gap || now.t <= before.t) return null;
  return Math.max(0, now.figures[i] - before.figures[i]) / (now.t - before.t);
}

// quantileAt estimates a quantile from the histogram of the last seconds. It assumes that the
// messages of a bucket are spread evenly over it.
function quantileAt(s, i, q) {
  let first = i;
  while (first > 0 && s[i].t - s[first - 1].t <= recent) first--;
  const counts = bounds.concat(0).map((_, b) => s[i].figures[latency + b] - s[first].figures[latency + b]);
  const all = counts.reduce((a, b) => a + b, 0);
  if (!(all > 0)) return null;
  let rank = q * all;
  for (let b = 0; b < bounds.length; b++) {
    const from = b ? bounds[b - 1] : 0;
    if (rank <= counts[b] && counts[b] > 0) return from + (bounds[b] - from) * rank / counts[b];
    rank -= counts[b];
  }
  return bounds.at(-1); // or more
}

// ask requests the figures. Pause and Resume may start a request while another is under way; only the
// newest one schedules the next.
async function ask() {
  clearTimeout(timer);
  const mine = ++asked;
  let next = pause;
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(patience) });
    if (!response.ok) throw new Error(`The server answers ${response.status}`);
    if (!response.headers.get("Content-Type")?.startsWith("application/json")) throw new Error("Sign in again: reload this page");
    const answer = await response.json();
    if (mine !== asked) return;
    take(answer);
    if (!paused) state("live", "Live");
  } catch (e) {
    if (mine !== asked) return;
    next = retry;
    if (!paused) state("lost", e instanceof TypeError || e.name === "TimeoutError" ? "The server does not answer" : e.message);
  }
  if (!paused) timer = setTimeout(ask, next);
}

function take(answer) {
  if (answer.started !== started) { // a new process counts from 0
    because = !started ? "you opened this page" : seen.has(answer.started) ?
      "another server answered: open the page of each server by its own address" : "the server started again";
    seen.add(answer.started);
    [samples, started, begun] = [[], answer.started, answer.now];
  }
  const pools = new Map(answer.pools.map(pool => [pool.name, flatten(pool)]));
  const all = new Float64Array(latency + 16);
  for (const figures of pools.values()) figures.forEach((n, i) => { all[i] = i === fullest ? Math.max(all[i], n) : all[i] + n; });
  bounds = answer.pools[0]?.latency.bounds ?? [];
  samples.push({ t: answer.uptime, all, pools });
  samples = samples.filter(s => s.t >= answer.uptime - span);
  list(answer.pools);
  choose(answer.pools.map(pool => pool.name));
  show(answer);
}

// The table of pools.
function list(pools) {
  const [before, now] = [samples.at(-2), samples.at(-1)];
  const rows = pools.map(pool => {
    const figures = now.pools.get(pool.name);
    const was = before && { t: before.t, figures: before.pools.get(pool.name) ?? new Float64Array(figures.length) };
    const speed = name => perSecond(was, { t: now.t, figures }, at(name));
    const write = n => n === null ? "–" : writeWhole(n);
    const cells = [...[pool.connections, pool.undelivered, speed("undelivered"), pool.stalled, pool.waiting].map(write),
      writeBytes(pool.waiting_bytes), writeBytes(pool.fullest_outbox), pool.mailbox_limit ? writeBytes(pool.mailbox_bytes) : "–",
      ...[pool.written, speed("written"), speed("accepted")].map(write)];
    const alarms = { 2: speed("undelivered") > 0, 3: pool.stalled > 0, 6: pool.fullest_outbox > 0.8 * pool.outbox_limit,
      7: pool.mailbox_bytes > 0.8 * pool.mailbox_limit };
    const name = pool.name ? make("bdi", {}, pool.name) : make("i", {}, "no name");
    return make("tr", {}, make("th", { scope: "row", title: pool.name }, name),
      ...cells.map((text, i) => make("td", alarms[i] ? { class: "alarm" } : {}, text)));
  });
  if (!rows.length) rows.push(make("tr", {}, make("td", { colspan: 12 }, "No pool is registered yet."))); // as in page.html
  const body = $("pools").tBodies[0];
  const same = rows.length === body.rows.length && rows.every((row, i) => row.cells[0].innerHTML === body.rows[i].cells[0].innerHTML);
  if (!same) return body.replaceChildren(...rows);
  rows.forEach((row, i) => [...row.cells].forEach((cell, j) => { // rows that stay keep the selection
    const old = body.rows[i].cells[j];
    if (j && (old.textContent !== cell.textContent || old.className !== cell.className)) old.replaceWith(cell);
  }));
}

// The pool that the charts show. The options' values are numbers, because a pool may have any name.
function choose(now) {
  if (now.length === names.length && now.every((name, i) => name === names[i])) return;
  const chosen = names[$("pool").value];
  names = now;
  const options = names.map((name, i) => make("option", { value: i }, name || "no name"));
  $("pool").replaceChildren(make("option", { value: "all" }, "all pools"), ...options);
  if (names.includes(chosen)) $("pool").value = names.indexOf(chosen);
}

function show() {
  if (samples.length > 1) $("live").hidden = false; // one sample has no rate and no line
  if ($("live").hidden || !samples.length) return;
  const name = names[$("pool").value], { t: now } = samples.at(-1), from = samples[0].t;
  const mine = samples.map(s => ({ t: s.t, figures: name === undefined ? s.all : s.pools.get(name) ?? new Float64Array(s.all.length) }));
  for (const chart of charts) {
    chart.show(chart.series.map(series => spread(mine, series)), from, now);
  }
  const seconds = Math.round(now - from);
  $("history").textContent = seconds >= span - 2 ? "The last five minutes. This page records them while it is open."
    : `Since ${writeTime(begun)}, when ${because}. The server keeps no history.`;
}

// spread returns the points of a series, with a break in each gap.
function spread(mine, series) {
  return mine.flatMap((s, i) => {
    const point = { t: s.t, value: series.value(mine, i) };
    return i && s.t - mine[i - 1].t > gap ? [{ t: s.t, value: null }, point] : [point];
  });
}

function state(name, text) {
  document.body.dataset.state = name;
  if ($("state").textContent !== text) $("state").textContent = text; // otherwise screen readers read it out each second
}

$("pause").onclick = () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  clearTimeout(timer);
  if (paused) state("paused", "Paused");
  else ask();
};
$("pool").onchange = show;
new ResizeObserver(show).observe($("charts"));
$("charts").append(...charts.map(chart => chart.figure));
$("pause").hidden = false;
document.title = `${location.host} – gcpool`;
state("asking", "Asking");
ask();
