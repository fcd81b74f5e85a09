// Receives pushes with the ws package, which answers pings. Comes back after a close, unless
// the close code says to stay away.
// Usage: node client.mjs URL ORIGIN COOKIE
import { createHash } from "node:crypto";
import WebSocket from "ws";

const [url, origin, cookie] = process.argv.slice(2);

const lengths = [];
const kinds = new Set();
let digest = Buffer.alloc(32);

// After 1000, and after 4500 to 4999, the client stays away.
const comesBack = (code) => code !== 1000 && (code < 4500 || code > 4999);

function connect(failures = 0) { // in a row; a connection that lasts 5 s resets the count
  const ws = new WebSocket(url, { origin, headers: { cookie }, maxPayload: 2 << 20 });
  ws.on("open", () => setTimeout(() => { failures = 0; }, 5000).unref());
  ws.on("message", (data, isBinary) => {
    if (data.toString("latin1", 0, 7) === "report") {
      ws.send(JSON.stringify({ lengths, digest: digest.toString("hex"), kinds: [...kinds] }) + "\n");
      return;
    }
    kinds.add(isBinary ? "binary" : "text");
    lengths.push(data.length);
    digest = createHash("sha256").update(digest).update(data).digest();
  });
  ws.on("error", (error) => console.error(error.message)); // a close follows
  ws.on("close", (code) => {
    if (comesBack(code)) {
      setTimeout(connect, Math.random() * Math.min(30_000, 1000 * 2 ** failures), failures + 1);
    } else {
      console.log(`closed with ${code}`);
    }
  });
}

connect();
