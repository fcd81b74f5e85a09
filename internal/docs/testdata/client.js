"use strict";
// Runs the client on standard input, with WebSockets and timers that the test controls, and
// checks when the client comes back.
const assert = require("node:assert");
const source = require("node:fs").readFileSync(0, "utf8");

// client starts a client, and returns its WebSockets, and the delays and calls of its timers.
function client() {
  const sockets = [], delays = [], calls = [];
  class WebSocket { constructor(url) { this.url = url; sockets.push(this); } }
  const setTimeout = (call, delay, ...args) => { delays.push(delay); calls.push(() => call(...args)); };
  new Function("WebSocket", "setTimeout", "location", "console", source)(
    WebSocket, setTimeout, { protocol: "https:", host: "example.com" }, { log() {} });
  return { sockets, delays, calls };
}

for (const code of [1000, 4500, 4501, 4999]) {
  const { sockets, delays } = client();
  assert.strictEqual(sockets[0].url, "wss://example.com/ws");
  sockets[0].onclose({ code });
  assert.strictEqual(delays.length, 0, `it comes back after ${code}`);
}

for (const code of [1001, 1002, 1006, 1009, 4000, 4499]) {
  const { sockets, delays, calls } = client();
  Math.random = () => 0.5;
  for (let i = 0; i < 10; i++) {
    sockets.at(-1).onclose({ code });
    calls.at(-1)();
  }
  assert.strictEqual(sockets.length, 11, `it does not come back after ${code}`);
  assert.deepStrictEqual(delays, [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000, 15000, 15000]);
  sockets.at(-1).onopen();
  assert.strictEqual(delays.at(-1), 5000);
  calls.at(-1)();
  sockets.at(-1).onclose({ code });
  assert.strictEqual(delays.at(-1), 500, "a connection that lasts does not end the backoff");
}
