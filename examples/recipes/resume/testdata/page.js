"use strict";
// Runs client.js in Node.js as a page does, at the host in the first argument, and prints what
// it shows.
const [host, session] = process.argv.slice(2);
globalThis.location = { protocol: "http:", host };
globalThis.localStorage = {};
globalThis.addEventListener = () => {};
globalThis.document = { addEventListener };
const Native = WebSocket;
globalThis.WebSocket = class extends Native {
  constructor(url) { super(url, { headers: { cookie: `session=${session}`, origin: `http://${host}` } }); }
};
Math.random = () => 0.005; // it comes back within 5 ms, then 10 ms
const client = require("node:fs").readFileSync("client.js", "utf8");
new Function(`${client}\nreturn resume;`)()(text => console.log(text));
