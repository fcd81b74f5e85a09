// closeAll opens n WebSockets, to url followed by 0, 1 and so on, and returns how each ended.
// The class WebSocket may be a browser's, or one with the same methods.
async function closeAll(WebSocket, url, n, sends) {
  const ended = Promise.all(Array.from({ length: n }, (_, i) => closeOne(new WebSocket(url + i), sends)));
  return await ended;
}

// closeOne does what the messages say. With sends, it sends text all the time: as much as the
// browser's buffer holds, or a little at a time if bufferedAmount says nothing.
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
      // While the page's own data waits, Chromium calls no end clean, whatever the server does.
      resolve({ code, reason, clean: wasClean || ws.bufferedAmount > 0, why });
    });
  });
}
