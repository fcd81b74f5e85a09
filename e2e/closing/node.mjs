// Reads lines of JSON with the arguments of closeAll in closes.js, and prints a line with the
// result of each.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import WebSocket from "ws";

const source = readFileSync(new URL("closes.js", import.meta.url), "utf8");
const closeAll = new Function(`${source}; return closeAll`)();

for await (const line of createInterface({ input: process.stdin })) {
  const { url, n, sends } = JSON.parse(line);
  console.log(JSON.stringify(await closeAll(WebSocket, url, n, sends)));
}
