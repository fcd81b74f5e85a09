// closeAll opens n WebSockets to url and the numbers from 0 on, and returns how each has
// ended. The WebSocket may be a browser's, or one that looks like it.
async function closeAll(WebSocket, url, n, sends) {
  const ended = Promise.all(Array.from({ length: n }, (_, i) => closeOne(new WebSocket(url + i), sends)));
  return await ended;
}

// closeOne does what the messages say. It sends text all the time, if it is to: what a
// browser has room for, and a little at a time where the buffered amount tells nothing.
function closeOne(ws, sends) {
  const text = "x".repeat(1000);
  const send = () => {
    for (let i = 0; i < 16 && ws.readyState === ws.OPEN && ws.bufferedAmount < 16_000; i++) ws.send(text);
    if (ws.readyState === ws.OPEN) setTimeout(send, 0);
  };
  return new Promise(resolve => {
    let why = "";
    if (sends) ws.addEventListener("open", send);
    ws.addEventListener("error", event => { why = event.message || "an error event"; });
    ws.addEventListener("message", ({ data }) => {
      if (data === "close") ws.close(1000);
      if (data === "return") ws.send(data);
    });
    ws.addEventListener("close", ({ code, reason, wasClean }) => {
      // For Chromium no end is clean, whatever the server does, while the page's own data waits.
      resolve({ code, reason, clean: wasClean || ws.bufferedAmount > 0, why });
    });
  });
}
