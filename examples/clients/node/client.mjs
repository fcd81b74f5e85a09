// Receives pushes with the ws package, which answers pings by itself.
// Usage: node client.mjs URL ORIGIN COOKIE
import { createHash } from "node:crypto";
import WebSocket from "ws";

const [url, origin, cookie] = process.argv.slice(2);
const ws = new WebSocket(url, { origin, headers: { cookie }, maxPayload: 2 << 20 });

const lengths = [];
const kinds = new Set();
let digest = Buffer.alloc(32);

ws.on("message", (data, isBinary) => {
  if (data.toString("latin1", 0, 7) === "report") {
    ws.send(JSON.stringify({ lengths, digest: digest.toString("hex"), kinds: [...kinds] }) + "\n");
    return;
  }
  kinds.add(isBinary ? "binary" : "text");
  lengths.push(data.length);
  digest = createHash("sha256").update(digest).update(data).digest();
});
ws.on("error", (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
ws.on("close", (code) => {
  console.log(`closed with ${code}`);
});
