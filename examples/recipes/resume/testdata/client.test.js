"use strict";
// Gives client.js lines in orders that are rare on a network.
const assert = require("node:assert");
const source = require("node:fs").readFileSync("client.js", "utf8");

function client(has, log) {
  const c = { shown: [], sent: [], delays: [], on: {}, localStorage: has === undefined ? {} : { has, log } };
  class WebSocket {
    constructor() { c.ws = this; }
    close() { this.closed = true; }
    send(line) { c.sent.push(JSON.parse(line)); }
  }
  const timer = (call, delay, ...args) => { c.delays.push(delay); c.again = () => call(...args); };
  const addEventListener = (event, call) => { c.on[event] = call; };
  c.document = { hidden: false, addEventListener };
  new Function("WebSocket", "localStorage", "location", "setTimeout", "document", "addEventListener", `${source}\nreturn resume;`)(
    WebSocket, c.localStorage, { protocol: "http:", host: "x" }, timer, c.document, addEventListener)(text => c.shown.push(text));
  c.gets = (...lines) => lines.forEach(line => c.ws.onmessage({ data: JSON.stringify(line) }));
  c.ws.onopen();
  return c;
}
const message = n => ({ n, text: `m${n}` });
const answer = (after, from) => ({ after, from, log: "A" });

let c = client("5", "A"); // as localStorage has it
assert.deepStrictEqual(c.sent, [{ after: 5, log: "A" }]);
c.gets(message(7)); // a message is missing, but the client has already asked
c.gets(answer(3, 4), message(5), message(6)); // answers an earlier connection
assert.deepStrictEqual(c.shown, []);
c.gets(answer(5, 5), message(6), message(7));
assert.deepStrictEqual(c.shown, ["m6", "m7"]);
assert.deepStrictEqual(c.sent, [{ after: 5, log: "A" }, { ack: 6 }, { ack: 7 }]);
c.gets(message(9), message(10)); // a message is missing: the client asks, but only once
assert.deepStrictEqual(c.sent.slice(3), [{ after: 7, log: "A" }]);
c.gets(answer(7, 7), message(8), message(9), message(10), message(9));
assert.deepStrictEqual(c.shown, ["m6", "m7", "m8", "m9", "m10"]);

c = client("9", "B"); // of another user, or the server has lost its store
c.gets(message(10), answer(9, 0), message(1), message(2));
assert.deepStrictEqual(c.shown, ["m1", "m2"]);
c.ws.onopen();
assert.deepStrictEqual(c.sent.at(-1), { after: 2, log: "A" });

c = client(); // a new client of a user who has acknowledged messages elsewhere
c.gets(answer(0, 8), message(9));
assert.deepStrictEqual(c.shown, ["m9"]);

c = client("3", "A"); // and in another tab, somebody else signs in
c.gets(answer(3, 3), message(4));
Object.assign(c.localStorage, { has: 7, log: "B" });
c.gets(message(5));
assert.deepStrictEqual(c.shown, ["m4"]);
assert.deepStrictEqual(c.sent.at(-1), { after: 7, log: "B" });
c.gets(answer(7, 4), message(5));
assert.deepStrictEqual(c.shown, ["m4", "m5"]);

for (const code of [1000, 4500, 4999]) c.ws.onclose({ code });
assert.deepStrictEqual(c.delays, [5000]); // when it opened
c.ws.onclose({ code: 1006 });
c.again();
c.ws.onopen();
assert.deepStrictEqual(c.sent.at(-1), { after: 5, log: "A" });

for (const event of ["freeze", "pagehide"]) { // such a page leaves until it is seen
  c = client("5", "A");
  const first = c.ws;
  c.on[event]();
  c.document.hidden = true;
  first.onclose({ code: 1000 });
  c.again();
  assert.ok(first.closed && c.ws === first);
  c.document.hidden = false;
  c.on.visibilitychange();
  assert.ok(c.ws !== first && !c.ws.closed);
}
