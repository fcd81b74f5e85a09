// The browser freezes hidden pages, and keeps pages that the user has left. Such a page closes its
// connection, and does not connect again until it is visible: another tab may have the id by then.
let current, asleep;
const sleep = () => { asleep = true; current?.close(); };
addEventListener("pagehide", sleep);
document.addEventListener("freeze", sleep);

// resume connects, and calls show(text) once for each message, in order; show must not throw. It
// reconnects after a close, unless the close code says to stay away. localStorage.has is the number
// of the last message that was shown, and localStorage.log says to which series that number
// belongs: another user of this browser has another series, and so has a server that has lost its
// store. Both survive a reload; keep them together with the messages that you show.
function resume(show, failures = 0) {
  if (asleep && document.hidden) return document.addEventListener("visibilitychange", () => resume(show), { once: true });
  asleep = false;
  const ws = current = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/ws`);
  const send = message => ws.send(JSON.stringify(message));
  const has = () => Number(localStorage.has ?? 0);
  let mine; // the log of this connection's user
  let asked = -1; // we asked for all messages after this number; -1 once the answer has begun
  const ask = () => { asked = has(); send({ after: asked, log: localStorage.log }); };
  ws.onopen = () => {
    ask();
    setTimeout(() => { failures = 0; }, 5000); // a connection that lasts 5 s ends the series of failures
  };
  ws.onmessage = ({ data }) => {
    const { n, text, after, from, log } = JSON.parse(data);
    if (after !== undefined) {
      if (after !== asked) return; // it answers an earlier connection, whose messages this connection inherits
      localStorage.has = from;
      localStorage.log = mine = log;
      asked = -1;
    } else if (asked >= 0) {
      return; // the answer brings this message again, and says to which log its number belongs
    } else if (localStorage.log !== mine) {
      ask(); // a tab of another user has replaced the numbers in localStorage
    } else if (n === has() + 1) {
      localStorage.has = n;
      show(text);
      send({ ack: n });
    } else if (n > has()) {
      ask(); // a message is missing
    }
  };
  ws.onclose = ({ code }) => code >= 4500 || code === 1000 && !asleep ||
    setTimeout(resume, Math.random() * Math.min(30_000, 1000 * 2 ** failures), show, failures + 1);
}
