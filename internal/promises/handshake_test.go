package promises

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// logged is a ResponseWriter of a middleware's.
type logged struct{ http.ResponseWriter }

func (l logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// TestUpgradeReturnsAtOnceOnlyToNetHTTP: whatever else is in front, if only a function
// that calls it, may have something to do when its handler has returned.
func TestUpgradeReturnsAtOnceOnlyToNetHTTP(t *testing.T) {
	front := func(pattern string, around func(http.Handler) http.Handler) wrapper {
		return func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle(pattern, around(h))
			return mux
		}
	}
	same := func(h http.Handler) http.Handler { return h }
	for what, test := range map[string]struct {
		front wrapper
		waits bool
	}{
		"the server":                {same, false},
		"a ServeMux":                {front("/", same), false},
		"a pattern with a wildcard": {front("GET /{rest...}", same), false},
		"a ServeMux in a ServeMux":  {front("/", front("GET /{$}", same)), false},
		"its method in a ServeMux":  {front("/", func(h http.Handler) http.Handler { return http.HandlerFunc(h.ServeHTTP) }), false},
		"a function": {func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
		}, true},
		"a function in a ServeMux": {front("/", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
		}), true},
		"a ServeMux in a function": {func(h http.Handler) http.Handler {
			h = front("/", same)(h)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) })
		}, true},
		"a handler of its own type": {func(h http.Handler) http.Handler { return calls{h} }, true},
		"StripPrefix":               {front("/", func(h http.Handler) http.Handler { return http.StripPrefix("/", h) }), true},
		"MaxBytesHandler":           {func(h http.Handler) http.Handler { return http.MaxBytesHandler(h, 1000) }, true},
	} {
		t.Run(what, func(t *testing.T) {
			waits := make(chan bool, 1)
			addr := serve(t, test.front, gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
				waits <- strings.Contains(string(debug.Stack()), "net/http.(*conn).serve(")
			})))
			dial(t, addr, "id=mine")
			if got := <-waits; got != test.waits {
				t.Errorf("net/http waits for the handler: %v, want %v", got, test.waits)
			}
		})
	}
}

// calls is a handler that does nothing but call another.
type calls struct{ h http.Handler }

func (c calls) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.h.ServeHTTP(w, r) }

// TestUpgradeWaitsUnderMiddleware: a router that uses its contexts again must not give
// a handler that still runs another request's id.
func TestUpgradeWaitsUnderMiddleware(t *testing.T) {
	type key struct{}
	direct := func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }
	recycles := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		id := r.FormValue("id")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, &id)))
		id = "another's"
	}
	timeout := func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, time.Minute)
	}
	behind := func(all ...derive) func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) { recycles(w, r, middleware(next, all)) }
	}
	for what, around := range map[string]func(w http.ResponseWriter, r *http.Request, next http.Handler){
		"a function":                      direct,
		"a router":                        recycles,
		"a router, then a deadline":       behind(timeout),
		"a router, then one that cancels": behind(context.WithCancel),
		"a router, then two that cancel":  behind(context.WithCancel, context.WithCancel),
		"a writer":                        func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(logged{w}, r) },
	} {
		t.Run(what, func(t *testing.T) {
			returned := make(chan struct{})
			next := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
				ws.Read(make([]byte, 1)) // until the peer has looked
				if id, _ := ws.Request().Context().Value(key{}).(*string); id != nil && *id != "mine" {
					t.Errorf("the handler sees %q", *id)
				}
			}))
			addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(returned)
				around(w, r, next)
			}))
			ws := dial(t, addr, "id=mine")
			select {
			case <-returned:
				t.Error("Upgrade has returned, and its handler has not")
			case <-time.After(20 * time.Millisecond):
			}
			ws.Write([]byte("x"))
			<-returned
		})
	}
}

// derive is what a middleware makes of a request's context.
type derive func(context.Context) (context.Context, context.CancelFunc)

func middleware(next http.Handler, all []derive) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, d := range all {
			ctx, cancel := d(r.Context())
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// ask sends a handshake, but with that method, and more headers and a body, and
// returns all that comes back.
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
	if method == http.MethodPost { // whose connection stays
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

// TestUpgradeLeavesAHijackedConnection to whoever has hijacked it, as net/http does; but a
// WebSocket that is closed without a close frame gets one.
func TestUpgradeLeavesAHijackedConnection(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			go func() { // as the chat example of gorilla/websocket does
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

// TestUpgradeAnswersAsNetHTTPDoes where the handler refuses the handshake.
func TestUpgradeAnswersAsNetHTTPDoes(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			w.Header().Set("X-Late", "yes")
			io.WriteString(w, "<html>hello</html>")
		}))
		resp, body := response(t, ask(t, addr, http.MethodGet, "Connection: close\r\n"))
		if resp.StatusCode != http.StatusTeapot || body != "<html>hello</html>" || resp.Header.Get("X-Late") != "" ||
			resp.Header.Get("Date") == "" || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%+v %q", resp, body)
		}
	})
}

// TestUpgradeHijackSendsTheStatus that was written before it, as net/http does: some
// WebSocket libraries write that of the handshake so.
func TestUpgradeHijackSendsTheStatus(t *testing.T) {
	for _, status := range []int{http.StatusSwitchingProtocols, http.StatusBadRequest} {
		both(t, func(t *testing.T, wrap wrapper) {
			addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Mine", "yes")
				w.WriteHeader(status)
				conn, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				buf.WriteString("behind")
				buf.Flush()
				conn.Close()
			}))
			got := ask(t, addr, http.MethodGet, "")
			if !strings.HasPrefix(got, fmt.Sprint("HTTP/1.1 ", status, " ", http.StatusText(status), "\r\n")) ||
				!strings.Contains(got, "\r\nX-Mine: yes\r\n") || !strings.HasSuffix(got, "\r\n\r\nbehind") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestUpgradeSendsNoBodyWhereNoneIsAllowed, RFC 9110 section 6.4.1.
func TestUpgradeSendsNoBodyWhereNoneIsAllowed(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotModified)
			if _, err := io.WriteString(w, "body"); err != http.ErrBodyNotAllowed {
				t.Errorf("Write: %v", err)
			}
		}))
		if got := ask(t, addr, http.MethodGet, "Connection: close\r\n"); !strings.HasSuffix(got, "\r\n\r\n") {
			t.Errorf("got %q", got)
		}
	})
}

// TestHandshakeThatWaitsForItsPeer: it has gone, which nothing tells, so the context
// ends after a while.
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

// TestContextLastsAfterTheHandshake, however long the handler runs.
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

func TestUpgradeCutsNoResponseUnseen(t *testing.T) {
	addr := serve(t, gcpool.Upgrade, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.txt", time.Time{}, bytes.NewReader(make([]byte, 100_000)))
	}))
	if resp, body := response(t, ask(t, addr, http.MethodGet, "")); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("status %d with %d bytes, Content-Length %d", resp.StatusCode, len(body), resp.ContentLength)
	}
}

// TestUpgradePassesAPost: a handshake is a GET (RFC 6455 section 4.2.1), so whoever
// posts is told to go on.
func TestUpgradePassesAPost(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body) }))
		if got := ask(t, addr, http.MethodPost, "Expect: 100-continue\r\nContent-Length: 4\r\n"); !strings.Contains(got, "100") {
			t.Errorf("got %q", got)
		}
	})
}

// TestUpgradeTakesDeadlines of an http.ResponseController, net/http's way to let a
// request take longer.
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
