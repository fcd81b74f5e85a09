package promises

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// ask sends a handshake with the given method and with extra headers
// or a body, and returns the whole answer.
func ask(t *testing.T, addr, method, more string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n%s\r\n", method, addr, addr, more)
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if method == http.MethodPost { // the server keeps this connection open
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return line
	}
	got, _ := io.ReadAll(conn)
	return string(got)
}

func response(t *testing.T, text string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestUpgradeLeavesAHijackedConnection: like net/http, Upgrade leaves a hijacked connection to its
// new owner. If the owner closes a WebSocket without a close frame, however, Upgrade sends one.
func TestUpgradeLeavesAHijackedConnection(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			go func() { // like the chat example of gorilla/websocket
				defer conn.Close()
				time.Sleep(20 * time.Millisecond)
				buf.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi")
				buf.Flush()
			}()
		}))
		want := "\r\n\r\n\x81\x02hi"
		if wrap != nil {
			want += "\x88\x02\x03\xe8"
		}
		if got := ask(t, addr, http.MethodGet, ""); !strings.HasSuffix(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

// TestHandshakeThatWaitsForItsPeer: Upgrade cannot see during the handshake that the peer has
// gone, so it ends the request's context after ten seconds.
func TestHandshakeThatWaitsForItsPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, ended := time.Now(), make(chan time.Duration, 1)
		l := newMemory()
		srv := &http.Server{Handler: gcpool.Upgrade(websocket.Server{
			Handshake: func(_ *websocket.Config, r *http.Request) error {
				<-r.Context().Done()
				ended <- time.Since(start)
				return r.Context().Err()
			},
			Handler: func(*websocket.Conn) {},
		})}
		go srv.Serve(l)
		defer srv.Close()
		conn, theirs := net.Pipe()
		l.conns <- theirs
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		conn.Close()
		if d := <-ended; d < 9*time.Second || d > 11*time.Second {
			t.Errorf("the context ended after %v", d)
		}
	})
}

// TestHandshakeWithABody: a WebSocket request announces a body, and
// its handler asks for a form value. The handler must not wait for
// the body, because the server's deadlines no longer apply to it.
func TestHandshakeWithABody(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, wrap wrapper) {
		srv := httptest.NewUnstartedServer(wrap.around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no, "+r.FormValue("id"), http.StatusForbidden)
		})))
		srv.Config.ReadTimeout = time.Second
		srv.Start()
		defer srv.Close()
		got := ask(t, srv.Listener.Addr().String(), http.MethodGet, "Connection: close\r\n"+
			"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n--x")
		if resp, body := response(t, got); resp.StatusCode != http.StatusForbidden || body != "no, \n" {
			t.Errorf("%s %q", resp.Status, body)
		}
	})
}

// TestContextLastsAfterTheHandshake: after the handshake, the context
// lasts as long as the handler runs.
func TestContextLastsAfterTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error)
		_, ws := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			time.Sleep(time.Hour)
			ended <- ws.Request().Context().Err()
		}))("")
		if err := <-ended; err != nil {
			t.Errorf("after an hour: %v", err)
		}
		ws.Close()
	})
}

// TestUpgradePassesAPost: only a GET is a handshake (RFC 6455 section 4.2.1). A POST passes
// through, and its client is told to continue.
func TestUpgradePassesAPost(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body) }))
		if got := ask(t, addr, http.MethodPost, "Expect: 100-continue\r\nContent-Length: 4\r\n"); !strings.Contains(got, "100") {
			t.Errorf("got %q", got)
		}
	})
}

// TestUpgradeTakesDeadlines: under Upgrade, http.ResponseController can set deadlines, which is
// how a net/http handler gives a request more time.
func TestUpgradeTakesDeadlines(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := http.NewResponseController(w)
			if err := cmp.Or(c.SetReadDeadline(time.Now().Add(time.Hour)), c.SetWriteDeadline(time.Unix(1, 0))); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			websocket.Handler(func(ws *websocket.Conn) { ws.Write([]byte("hi")) }).ServeHTTP(w, r)
		}))
		if got := lines(t, bufio.NewReader(io.MultiReader(dial(t, addr, ""), strings.NewReader("\n"))), 1); got[0] != "hi" {
			t.Errorf("got %q", got)
		}
	})
}

// TestHandshakeThatIsNeverAnsweredKeepsNothing: the 10 s limit on a handshake ends with its
// handler. It must not keep the request in memory for the rest of the 10 s.
func TestHandshakeThatIsNeverAnsweredKeepsNothing(t *testing.T) {
	type key struct{}
	kept := make(chan weak.Pointer[http.Request], 1)
	around := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mark := new(http.Request)
			kept <- weak.Make(mark)
			gcpool.Upgrade(h).ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, mark)))
		})
	}
	addr := serve(t, around, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}))
	ask(t, addr, http.MethodGet, "")
	request := <-kept
	for end := time.Now().Add(8 * time.Second); request.Value() != nil; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("the request is still in memory")
		}
	}
}
