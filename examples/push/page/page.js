"use strict";
const $ = id => document.getElementById(id);
const lineMax = 64 * 1024, entriesMax = 500, everyone = "*", gone = "The server went away";
const sent = new Map(); // ref -> the sent message, while the page shows its entry
let node, nodes = [], places = new Map(), more = 0, partial = false; // of a cluster; a single server has no node
let state = "", me = sessionStorage.getItem("name") ?? "", names = [], picked = "", socket = null, opening = null, asleep = false, turn = 0, tries = 0, timer = 0;
let fresh = !me && location.search === "?new"; // for another user in this browser: ignores the session in the cookie
let ref = Math.floor(Math.random() * 2 ** 31) * 1000; // random, so that it differs from an earlier tab's numbers
// make returns an element. Strings become text nodes, never markup.
function make(tag, props, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}
function say(text) { // to a screen reader
  $("news").append(make("p", {}, text));
  if ($("news").childElementCount > 20) $("news").firstChild.remove();
}
// The states: out, connecting, connected, taken, ended, away.
function show(next) {
  state = document.body.dataset.state = next;
  $("status").textContent = { out: "Signed out", connecting: "Connecting…", connected: "Connected", taken: "Taken over", ended: "Ended", away: "Server away" }[next];
  if (next === "connected" && node) $("status").replaceChildren(make("span", { className: "word" }, "Connected to "), node);
  $("signin").hidden = next !== "out";
  $("change").hidden = next === "out" || !me;
  $("app").hidden = next === "out" || next === "connecting" && !me;
  $("composer").hidden = next === "taken" || next === "ended"; // the banner says why, in its place
  $("who").textContent = $("who").title = next === "out" ? "" : me;
  $("send").disabled = next !== "connected";
  if (next === "out") [names, more, partial, picked] = [[], 0, false, ""];
  listPeople();
}
function banner(title, detail = "", action = "", run = () => {}) {
  $("banner").hidden = !title;
  for (const [id, text] of Object.entries({ title, detail, action })) $(id).textContent = text;
  $("action").onclick = () => { banner(""); $("text").focus(); run(); };
  if (title) say(`${title}. ${detail}`);
}
function signedOut(problem) { banner(""); show("out"); refuse(problem, me); }
function refuse(problem, name = $("name").value) {
  $("name").value = name;
  $("problem").textContent = problem;
  $("name").ariaInvalid = String(problem !== "");
  $("name").select();
}
// The session: this tab keeps its user, whichever user the browser's cookie names.
async function ask(path, form) { // returns the name that the server knows us by, and notes the node
  const r = await fetch(path, { signal: AbortSignal.timeout(5000), ...(form && { method: "POST", body: new URLSearchParams(form) }) });
  if (!r.ok) throw Object.assign(new Error(), { problem: r.status === 400 && await r.text() });
  const hello = await r.json();
  if (node !== hello.node || nodes.length !== (hello.nodes ?? []).length) [node, nodes] = [hello.node, listNodes(hello.node, hello.nodes ?? [])];
  return hello.name;
}
function listNodes(here, nodes) {
  $("nodes").hidden = !nodes.length;
  $("nodes").replaceChildren(make("span", { className: "soft" }, "Nodes"), ...nodes.map(({ name, port }) => name === here
    ? make("span", { className: "node", ariaCurrent: "true" }, name, make("span", { className: "soft" }, " here"))
    : make("a", { className: "node", href: Object.assign(new URL("/", location), { port }).href, target: "_blank", rel: "noopener", title: "Opens in a new tab" },
      name, make("span", { className: "soft port" }, ` :${port}`))));
  return nodes;
}
async function identify() {
  const known = await ask("/me");
  if (fresh) return;
  if (me && me !== known) {
    if (!known) note("The server no longer knew this session, so you were signed in again.");
    await ask("/signin", { name: me });
  }
  sessionStorage.setItem("name", me ||= known);
}
// The connection. The page reconnects after a close, except after 1000 and 4500 to 4999: two tabs
// that reconnect after every close would throw each other out forever.
const stays = code => code >= 4500 && code < 5000;
// The browser freezes hidden pages, and keeps pages that the user has left. Such a page would
// swallow messages, so it closes its connection, and does not connect again until it is visible:
// another tab may have the name by then.
function sleep() {
  asleep = true;
  opening?.close();
}
addEventListener("pagehide", sleep);
document.addEventListener("freeze", sleep);
async function connect() {
  const mine = ++turn;
  clearTimeout(timer);
  if (asleep && document.hidden) return document.addEventListener("visibilitychange", connect, { once: true });
  asleep = false;
  if (state === "away") $("detail").textContent = "Trying now…";
  else show("connecting");
  const attempt = async () => {
    if (mine === turn) await identify();
    if (asleep) throw new Error("frozen");
    if (mine === turn) await (me ? open(mine) : signedOut(""));
  };
  try { // tabs share one cookie, so they take turns between signing in and connecting
    await (navigator.locks ? navigator.locks.request("session", { signal: AbortSignal.timeout(5000) }, attempt) : attempt());
  } catch (e) {
    if (mine === turn) e.problem ? signedOut(e.problem) : retry("The server does not answer.");
  }
}
function open(mine) {
  return new Promise((done, fail) => {
    const ws = opening = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/ws?as=${encodeURIComponent(me)}`);
    const hurry = setTimeout(() => ws.close(), 10_000);
    let since = 0;
    ws.onmessage = event => {
      const line = JSON.parse(event.data);
      if ((line.kind === "hello" || line.kind === "people") && line.node !== node) return; // from the node that this page has just left
      if (mine !== turn || line.kind === "hello" && line.name !== me) return ws.close();
      if (line.kind !== "hello") return receive(line);
      clearTimeout(hurry);
      [socket, since] = [ws, performance.now()];
      done(connected());
    };
    ws.onclose = event => {
      clearTimeout(hurry);
      if (!since && !stays(event.code)) return fail(new Error("refused"));
      if (mine === turn) ended(event.code, performance.now() - since);
      done();
    };
  });
}
function connected() {
  if (state === "away") note("The server is back.");
  if ($("title").textContent === gone) banner("");
  show("connected");
  if (document.activeElement === document.body) $("text").focus();
}
function ended(code, lasted) {
  const pending = [...sent.values()].filter(s => s.fate === "pending");
  const long = code === 1009 && pending.findLast(s => s.size > lineMax);
  for (const s of pending) settle(s, "failed", s === long ? "Not delivered. The line was longer than 64 KiB."
    : "Unknown. The connection ended before the outcome came; it may have arrived.");
  if (lasted > 5000) tries = 0;
  if (code === 4500) {
    show("taken");
    banner("Another tab took over", `A newer tab or window is connected as ${me}, and a name has one connection. No messages arrive here.`, "Use here", connect);
  } else if (stays(code) || code === 1000 && !asleep) {
    show("ended");
    banner("The connection has ended", "The server closed it for good. No messages arrive here.", "Connect again", connect);
  } else if (code === 1009) {
    banner("That line was too long", "The server takes lines of up to 64 KiB, so it closed the connection (status 1009). "
      + "Your text is back in the field, and you are connected again.", "Got it");
    if (long && !$("text").value) $("text").value = long.text;
    measure();
    connect();
  } else retry({ 1001: "It is stopping or restarting.", 4001: "Your session has ended." }[code] ?? "The connection was lost.");
}
function retry(why) {
  const until = performance.now() + Math.min(30_000, 1000 * 2 ** tries++) * (0.5 + Math.random() / 2);
  if (state !== "away") show("away");
  if ($("title").textContent !== gone) banner(gone, why, "Try now", connect);
  const tick = () => {
    const left = until - performance.now();
    if (left <= 0) return connect();
    $("detail").textContent = `${why} Next try in ${Math.ceil(left / 1000)}\u00a0s.`;
    timer = setTimeout(tick, Math.min(left, 1000));
  };
  tick();
}
// The people.
function person(name) {
  let hue = 215;
  for (const c of name) hue = (hue * 31 + c.codePointAt(0)) % 360;
  const face = make("span", { className: name ? "face" : "face all", ariaHidden: "true" }, name ? [...name][0].toUpperCase() : "∗");
  face.style.setProperty("--hue", hue);
  const button = make("button", { type: "button", className: "person", title: name }, face,
    make("bdi", { className: "cut" }, name || "Everyone"), make("span", { className: "soft" }), make("span", { className: "badge", hidden: true }));
  button.onclick = () => { picked = name; listPeople(); $("text").focus(); };
  return Object.assign(make("li", {}, button), { name });
}
function seePeople(line) {
  [names, more, partial] = [line.names, line.more ?? 0, line.partial ?? false];
  places = new Map(line.on?.map((place, i) => [names[i], place]));
  const rest = [more && `And ${more} more, who are connected but not listed.`, partial && "Not all nodes answer, so somebody may be missing."];
  const text = rest.filter(Boolean).join(" ");
  if ($("rest").textContent !== text) $("rest").textContent = text; // otherwise screen readers read it out each time
  listPeople();
}
function listPeople() {
  const list = $("list"), live = state === "connected", wanted = ["", ...new Set([...names, picked].filter(Boolean).sort((a, b) => a.localeCompare(b)))];
  $("count").textContent = live ? `People connected: ${names.length + more}` : "People as last seen";
  $("to").textContent = picked || "everyone";
  guide();
  for (const li of [...list.children]) if (!wanted.includes(li.name)) li.remove();
  wanted.forEach((name, i) => { // buttons that stay are not touched, so they keep the focus
    if (list.children[i]?.name !== name) list.insertBefore(person(name), list.children[i] ?? null);
    const button = list.children[i].firstChild, [hint, badge] = [...button.children].slice(2), place = places.get(name);
    const away = live && name && !names.includes(name) && !more && !partial; // otherwise it is unknown
    button.ariaPressed = String(name === picked);
    button.disabled = !live;
    hint.textContent = away ? "away" : name && name === me ? "you" : "";
    badge.hidden = !live || place === undefined;
    badge.replaceChildren(make("span", { className: "quiet" }, " on "), place || "unknown node");
    button.title = name + (badge.hidden ? "" : badge.textContent);
  });
}
// The messages.
// guide says what to do while there are no messages.
function guide() {
  const alone = names.length + more < 2, empty = $("empty");
  if (!empty && $("entries").childElementCount || empty?.dataset.alone === String(alone)) return;
  const invite = make("a", { href: "/?new", target: "_blank", rel: "noopener" }, "Sign in as somebody else");
  const text = alone ? [invite, " in another tab, and push a message between the two. What becomes of it shows here."]
    : ["Choose a person, or everyone, and push a message. What becomes of it shows here."];
  const note = make("li", { id: "empty", className: "note soft" }, ...text);
  note.dataset.alone = alone;
  $("entries").replaceChildren(note);
}
function add(entry) {
  const first = $("entries").firstElementChild;
  if (first?.id === "empty" || $("entries").childElementCount >= entriesMax) {
    sent.delete(first.ref);
    first.remove();
  }
  return $("entries").appendChild(entry);
}
function note(text) { add(make("li", { className: "note soft" }, text)); say(text); }
function entry(kind, title, at, text, ref) {
  const day = new Date(at), time = `${day.getHours()}:${String(day.getMinutes()).padStart(2, "0")}`; // as on the dashboard
  return add(make("li", { className: `entry ${kind}`, ref }, make("p", { className: "soft" }, make("bdi", {}, title), ` · ${time}`),
    make("p", { className: "text", dir: "auto" }, text), make("p", { className: "fate" })));
}
function receive(line) {
  const s = sent.get(line.ref), all = line.to === everyone;
  if (line.kind === "people") seePeople(line);
  else if (line.kind === "outcome" && s && !line.error) settle(s, "delivered", s.to === everyone ? "Sent to everyone connected." : "Delivered.");
  else if (line.kind !== "message" && s) settle(s, "failed", `${line.uncertain ? "Unknown" : s.to === everyone ? "Not to all" : "Not delivered"}. ${line.error}`);
  else if (line.kind === "message" && !(all && s && line.from === me)) { // our own message to everyone already has an entry
    entry("in", line.from + (all ? " to everyone" : ""), line.at, line.text);
    say(`${line.from}: ${line.text.slice(0, 300)}`);
  }
}
function settle(s, fate, text) {
  s.fate = s.entry.dataset.fate = fate;
  s.entry.lastChild.textContent = { pending: "… ", delivered: "✓ ", failed: "✕ " }[fate] + text;
  if (fate !== "pending") say(`To ${s.to === everyone ? "everyone" : s.to}: ${text}`);
}
function compose(ref = 0) {
  const text = $("text").value, to = picked || everyone, line = JSON.stringify({ to, text, ref }) + "\n";
  return { to, text, line, size: new TextEncoder().encode(line).length };
}
function send(event) {
  event.preventDefault();
  if (state !== "connected") return say("Not connected. Your message stays in the field.");
  if (!$("text").value.trim()) return;
  const s = compose(++ref);
  socket.send(s.line);
  s.entry = entry("out", `To ${s.to === everyone ? "everyone" : s.to}`, Date.now(), s.text, ref);
  sent.set(ref, s);
  settle(s, "pending", "Pending");
  $("log").scrollTop = 0; // the end, see #log
  $("text").value = "";
  measure();
}
function measure() {
  const { size } = compose(), over = size > lineMax;
  $("hint").classList.toggle("over", over);
  $("hint").textContent = !over ? "Enter sends, Shift+Enter starts a new line."
    : `${Math.ceil(size / 1024)} KiB: the server takes lines of up to 64 KiB and will close the connection.`;
}
$("form").onsubmit = async event => {
  event.preventDefault();
  try {
    me = await ask("/signin", { name: $("name").value });
    fresh = false;
    history.replaceState(null, "", "/");
    connect();
  } catch (e) {
    refuse(e.problem || "The server does not answer. Please try again.");
  }
};
$("change").onclick = () => {
  turn++;
  clearTimeout(timer);
  socket?.close();
  sessionStorage.removeItem("name");
  sent.clear();
  $("entries").replaceChildren();
  signedOut("");
  ask("/signout", {}).catch(() => {});
};
$("composer").onsubmit = send;
$("text").oninput = measure;
$("text").onkeydown = event => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event); };
addEventListener("online", () => { if (state === "away") connect(); }); // the next try may be half a minute away
measure();
connect();
