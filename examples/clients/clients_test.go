package clients

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// forBoth runs a test for text and for binary messages, at the same time. The
// clients come one after the other, for a pong has to come within a heartbeat,
// also on a small machine that has other things to do.
func forBoth(t *testing.T, run func(t *testing.T, f *fixture, kind string)) {
	for _, kind := range []string{"text", "binary"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			run(t, newFixture(t, heartbeat), kind)
		})
	}
}

// need skips the test unless the files and commands are there; where all have to
// be, it fails.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := exec.LookPath(name)
		if strings.Contains(name, "/") {
			_, err = os.Stat(name)
		}
		if err == nil {
			continue
		}
		if os.Getenv("GCPOOL_REQUIRE_CLIENTS") == "1" {
			t.Fatalf("there is no %s here, and GCPOOL_REQUIRE_CLIENTS is 1; examples/clients/setup.sh installs it", name)
		}
		t.Skipf("there is no %s here; examples/clients/setup.sh installs it", name)
	}
}

// start runs a client in a process of its own, and returns a function that waits
// for its end and returns its output.
func start(t *testing.T, name string, args ...string) (output func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, name, args...)
	var out strings.Builder
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		if cancel(); t.Failed() {
			<-ended
			t.Logf("%s says: %s", name, &out)
		}
	})
	return func() string {
		err := <-ended
		if ended <- err; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return strings.TrimSpace(out.String())
	}
}

func TestGo(t *testing.T) {
	forBoth(t, func(t *testing.T, f *fixture, kind string) {
		config, err := websocket.NewConfig("ws://"+f.host+"/ws?kind="+kind, f.origin())
		if err != nil {
			t.Fatal(err)
		}
		config.Header.Set("Cookie", f.cookie())
		ws, err := websocket.DialConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- receive(ws) }()
		conn := f.serve(kind)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		began := time.Now()
		err = f.pool.Shutdown(ctx)
		if n := conn.in.count(opClose); err != nil || n != 1 && time.Since(began) < time.Second {
			t.Errorf("Shutdown: %v; %d goodbyes of the client", err, n)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// receive is the client in Go. x/net answers pings while it receives, but does not tell
// the close code, so this client does not come back.
func receive(ws *websocket.Conn) error {
	defer ws.Close()
	var kinds []string
	var kind string
	messages := websocket.Codec{Unmarshal: func(data []byte, payloadType byte, v any) error {
		kind = map[byte]string{websocket.TextFrame: "text", websocket.BinaryFrame: "binary"}[payloadType]
		*v.(*[]byte) = data
		return nil
	}}
	r := record{}
	digest := make([]byte, sha256.Size)
	for {
		var data []byte
		if err := messages.Receive(ws, &data); err != nil {
			return nil // the server closes it
		}
		if string(data) == "report" {
			r.Digest, r.Kinds = hex.EncodeToString(digest), kinds
			line, _ := json.Marshal(r)
			if _, err := ws.Write(append(line, '\n')); err != nil {
				return err
			}
			continue
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
		r.Lengths = append(r.Lengths, len(data))
		sum := sha256.Sum256(append(digest, data...))
		digest = sum[:]
	}
}

func TestNode(t *testing.T) {
	need(t, "node", "node/node_modules/ws")
	forBoth(t, func(t *testing.T, f *fixture, kind string) {
		output := start(t, "node", "node/client.mjs", "ws://"+f.host+"/ws?kind="+kind, f.origin(), f.cookie())
		f.end(f.serve(kind))
		f.ended(output())
	})
}

func TestPython(t *testing.T) {
	need(t, "python3")
	forBoth(t, func(t *testing.T, f *fixture, kind string) {
		output := start(t, "python3", "python/client.py", f.host, "/ws?kind="+kind, f.origin(), f.cookie())
		f.end(f.serve(kind))
		f.ended(output())
	})
}

// A library may close without a code (RFC 6455 section 7.1.5). The client comes back then.
func TestPythonComesBackAfterACloseWithoutACode(t *testing.T) {
	need(t, "python3")
	frames := make(chan string, 2)
	frames <- "\x88\x00"
	frames <- "\x88\x02\x13\x24" // 4900
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\n\r\n%s", base64.StdEncoding.EncodeToString(sum[:]), <-frames)
		io.Copy(io.Discard, conn)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	if got := start(t, "python3", "python/client.py", host, "/", server.URL, "none=")(); got != "closed with 4900" {
		t.Errorf("it ended with %q", got)
	}
}

// The others' pongs would prove nothing if the server did not miss them.
func TestClientWithoutPongsIsClosed(t *testing.T) {
	need(t, "python3")
	f := newFixture(t, heartbeat)
	began := time.Now()
	output := start(t, "python3", "python/client.py", f.host, "/ws", f.origin(), f.cookie(), "--mute")
	conn := f.join()
	f.await("its end", func() bool { return f.conns.Len() == 0 })
	took := time.Since(began)
	if took < 3*heartbeat/2 || took > 10*heartbeat {
		t.Errorf("it was closed after %v", took)
	}
	if pings, pongs := conn.out.count(opPing), conn.in.count(opPong); pings == 0 || pongs > 0 {
		t.Errorf("%d pings, %d pongs", pings, pongs)
	}
	err := f.stream.Deliver(t.Context(), user, []byte("hello"))
	if !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("a push afterwards: %v", err)
	}
	t.Logf("closed after %v; it says: %s", took, output())
}

func TestBrowser(t *testing.T) {
	need(t, "chromium")
	browser := startBrowser(t)
	for _, kind := range []string{"text", "binary"} {
		t.Run(kind, func(t *testing.T) {
			// A browser is many processes, and may need more than a second for a
			// pong on such a machine.
			f := newFixture(t, 2*heartbeat)
			tab, closeTab := chromedp.NewContext(browser)
			defer closeTab()
			tab, cancel := context.WithTimeout(tab, 4*patience)
			defer cancel()
			err := chromedp.Do(tab, f.signIn(), chromedp.Navigate(f.origin()+"/?kind="+kind))
			if err != nil {
				t.Fatal(err)
			}
			f.end(f.serve(kind))
			status, err := chromedp.Run(tab, chromedp.Poll[int]("window.closedWith", chromedp.WithPollingInterval(10*time.Millisecond)))
			if err != nil || status != 4900 {
				t.Errorf("closed with %d, %v", status, err)
			}
		})
	}
}

// signIn sets the cookie in the browser, HttpOnly as a sign-in would.
func (f *fixture) signIn() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		httpOnly := true
		_, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{
			Name: "session", Value: f.session, URL: f.origin(), HTTPOnly: &httpOnly, SameSite: network.CookieSameSiteStrict,
		})
		return err
	})
}

// startBrowser starts one with a profile of its own.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	chromium, _ := exec.LookPath("chromium")
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(chromium), chromedp.UserDataDir(filepath.Join(t.TempDir(), "profile")),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.WSURLReadTimeout(patience))
	t.Cleanup(stop)
	browser, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	return browser
}
