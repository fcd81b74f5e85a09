"use strict";
// Runs the client on standard input, with WebSockets and timers that the test controls, and
// checks when the client comes back.
const assert = require("node:assert");
const source = require("node:fs").readFileSync(0, "utf8");

// client starts a client, and returns its WebSockets, the delays and calls of its timers, its
// document, and its listeners.
function client() {
  const sockets = [], delays = [], calls = [], on = {};
  class WebSocket {
    closed = false;
    constructor(url) { this.url = url; sockets.push(this); }
    close() { this.closed = true; }
  }
  const setTimeout = (call, delay, ...args) => { delays.push(delay); calls.push(() => call(...args)); };
  const addEventListener = (event, call) => { on[event] = call; };
  const document = { hidden: false, addEventListener };
  new Function("WebSocket", "setTimeout", "location", "console", "document", "addEventListener", source)(
    WebSocket, setTimeout, { protocol: "https:", host: "example.com" }, { log() {} }, document, addEventListener);
  return { sockets, delays, calls, document, on };
}

for (const event of ["freeze", "pagehide"]) {
  const { sockets, delays, calls, document, on } = client();
  document.hidden = true;
  sockets[0].onclose({ code: 1006 });
  calls[0]();
  assert.strictEqual(sockets.length, 2, "a hidden page that was not put to sleep does not come back");
  on[event]();
  assert.ok(sockets[1].closed, `${event} leaves the connection open`);
  sockets[1].onclose({ code: 1000 }); // of the handler, which has seen our close
  calls[1]();
  assert.strictEqual(sockets.length, 2, `after ${event} a hidden page comes back`);
  document.hidden = false;
  on.visibilitychange();
  assert.strictEqual(sockets.length, 3, `after ${event} a page that is seen again stays away`);
  on[event]();
  sockets[2].onclose({ code: 1005 });
  calls[2]();
  assert.strictEqual(sockets.length, 4, `after ${event} a page that is seen stays away`);
  document.hidden = true;
  sockets[3].onclose({ code: 1006 });
  on[event](); // while it waits to come back
  calls[3]();
  assert.strictEqual(sockets.length, 4, `after ${event} between two connections a hidden page comes back`);
  on.visibilitychange();
  on[event]();
  sockets.at(-1).onclose({ code: 4500 });
  assert.strictEqual(delays.length, 4, `after ${event} a page comes back after 4500`);
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
