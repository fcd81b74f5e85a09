package closing

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

func TestFirefox(t *testing.T) { closeAll(t, newFirefox(t), round{few: 1}) }

func TestFirefoxUnderTLS(t *testing.T) {
	closeAll(t, newFirefox(t), round{few: 1, tls: true, takes: notifies})
}

// TestFirefoxTakesWhatComesBeforeAClose pushes a message to a page that has just connected, and
// closes the connection. The page must still get the message.
func TestFirefoxTakesWhatComesBeforeAClose(t *testing.T) {
	run := startFirefox(t)
	took := make(chan time.Duration, 1) // from the close to the page's answer
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	s := newSite(t, &closure{library: library{serve: func(s *site) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return // the library has sent the error
			}
			defer ws.Close()
			s.conns.Add("0", gcpool.Conn(r))
			if err := s.stream.Deliver(r.Context(), "0", []byte("hello")); err != nil {
				t.Error(err)
			}
			began := time.Now()
			s.conns.Kick("0", 4001, "bye")
			ws.ReadMessage()
			took <- time.Since(began)
		})
	}}})
	defer s.close()
	for n, again := 0, 0; n < 10; n++ {
		got := run(t, fmt.Sprintf(`new Promise(resolve => {
			const seen = [], ws = new WebSocket(%q);
			ws.onopen = () => seen.push("open");
			ws.onmessage = ({ data }) => seen.push(data);
			ws.onclose = ({ code, wasClean }) => resolve([...seen, code, wasClean].join());
		})`, s.url()))
		answered := time.Duration(0)
		select {
		case answered = <-took:
		case <-time.After(patience):
		}
		switch want := "open,hello,4001,true"; {
		case got == want:
		case answered >= late && again < 5: // a busy machine has held up the browser
			n, again = n-1, again+1
		default:
			t.Errorf("the page has seen %s, want %s", got, want)
		}
	}
}

// newFirefox starts a browser, and returns a client that uses a page in it.
func newFirefox(t *testing.T) client {
	t.Helper()
	run := startFirefox(t)
	return func(t *testing.T, url string, n int, sends bool) (endings []ending) {
		value := run(t, closingScript(url, n, sends)+".then(JSON.stringify)")
		if err := json.Unmarshal([]byte(value), &endings); err != nil {
			t.Errorf("firefox: %v", err)
		}
		return endings
	}
}

// startFirefox starts a browser. It returns a function that runs a script in a page and returns the
// string that the script's promise yields. The browser takes the commands of WebDriver BiDi.
func startFirefox(t *testing.T) func(t *testing.T, script string) string {
	t.Helper()
	need(t, "firefox")
	command := exec.Command("firefox", "--headless", "--no-remote", "--profile", t.TempDir(), "--remote-debugging-port", "0")
	command.Env = append(os.Environ(), "HOME="+t.TempDir())
	stderr, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	hurry := time.AfterFunc(patience, func() { command.Process.Kill() })
	t.Cleanup(func() { command.Wait() })
	url, lines := "", bufio.NewScanner(stderr)
	for url == "" && lines.Scan() {
		_, url, _ = strings.Cut(lines.Text(), "WebDriver BiDi listening on ")
	}
	go io.Copy(io.Discard, stderr)
	ws, _, err := websocket.DefaultDialer.Dial(url+"/session", nil)
	if err != nil {
		t.Fatalf("firefox: %v", err)
	}
	hurry.Stop()
	t.Cleanup(func() {
		hurry.Reset(patience)
		bidi(t, ws, "browser.close", params{})
	})
	trusts := params{"acceptInsecureCerts": true} // httptest's certificate is self-signed
	bidi(t, ws, "session.new", params{"capabilities": params{"alwaysMatch": trusts}})
	page := params{"context": bidi(t, ws, "browsingContext.create", params{"type": "tab"}).Context}
	return func(t *testing.T, script string) string {
		return bidi(t, ws, "script.evaluate", params{"target": page, "awaitPromise": true, "expression": script}).Result.Value
	}
}

type params map[string]any

// A result is the result of a command used here.
type result struct {
	Context string
	Result  struct{ Value string }
}

// bidi runs a command.
func bidi(t *testing.T, ws *websocket.Conn, method string, p params) result {
	var answer struct {
		Error, Message string
		Result         result
	}
	ws.SetReadDeadline(time.Now().Add(patience))
	err := ws.WriteJSON(params{"id": 1, "method": method, "params": p})
	if err == nil {
		err = ws.ReadJSON(&answer)
	}
	if err != nil || answer.Error != "" {
		t.Errorf("firefox: %s: %v %s %s", method, err, answer.Error, answer.Message)
	}
	return answer.Result
}
