package promises

import (
	"bufio"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// limiter is a middleware that lets in most requests at a time, counts them, and
// cleans up behind each.
type limiter struct {
	most    int64
	open    atomic.Int64
	cleaned atomic.Int64
}

func (l *limiter) around(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer l.open.Add(-1)
		if l.open.Add(1) > l.most {
			http.Error(w, "too many", http.StatusTooManyRequests)
			return
		}
		defer l.cleaned.Add(1)
		h.ServeHTTP(w, r)
	})
}

// TestLimiterLastsAsLongAsTheHandler, in front of Upgrade and behind it.
func TestLimiterLastsAsLongAsTheHandler(t *testing.T) {
	for what, order := range map[string]func(l *limiter, h http.Handler) http.Handler{
		"without Upgrade": func(l *limiter, h http.Handler) http.Handler { return l.around(h) },
		"in front":        func(l *limiter, h http.Handler) http.Handler { return l.around(gcpool.Upgrade(h)) },
		"behind":          func(l *limiter, h http.Handler) http.Handler { return gcpool.Upgrade(l.around(h)) },
		"in a ServeMux": func(l *limiter, h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("GET /", l.around(gcpool.Upgrade(h)))
			return mux
		},
		"around a ServeMux": func(l *limiter, h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("GET /", gcpool.Upgrade(h))
			return l.around(mux)
		},
	} {
		t.Run(what, func(t *testing.T) {
			p, _, stream := started(t)
			l := &limiter{most: 2}
			addr := serve(t, nil, order(l, verbatim(p, func() {})))
			var open []*websocket.Conn
			for _, id := range []string{"a", "b", "c", "d", "e"} {
				ws, err := websocket.Dial("ws://"+addr+"/?id="+id, "", "http://"+addr)
				if err == nil {
					defer ws.Close()
					open = append(open, ws)
				}
			}
			eventually(t, "the refused are gone", func() bool { return l.open.Load() == 2 })
			if len(open) != 2 || l.cleaned.Load() != 0 {
				t.Fatalf("%d are let in, and %d cleaned up", len(open), l.cleaned.Load())
			}
			eventually(t, "joined", func() bool { return p.Stats()[0].Connections == 2 })
			add(t, stream, "b", "hello")
			equal(t, "received", lines(t, bufio.NewReader(open[1]), 1), []string{"hello"})
			open[0].Close()
			eventually(t, "cleaned up", func() bool { return l.open.Load() == 1 && l.cleaned.Load() == 1 })
			dial(t, addr, "id=f")
		})
	}
}

// TestPanicReachesTheMiddlewareInFront, and without any it is net/http's to log.
func TestPanicReachesTheMiddlewareInFront(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		recovered := make(chan any, 1)
		inner := wrap.around(websocket.Handler(func(*websocket.Conn) { panic("a bug in the handler") }))
		addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { recovered <- recover() }()
			inner.ServeHTTP(w, r)
		}))
		ws := dial(t, addr, "")
		if v := <-recovered; v != "a bug in the handler" {
			t.Errorf("the middleware recovers %v", v)
		}
		if _, err := ws.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is still open")
		}
	})
	var text syncBuffer
	bare := &limiter{most: 1}
	srv := httptest.NewUnstartedServer(bare.around(gcpool.Upgrade(websocket.Handler(func(*websocket.Conn) { panic("a bug in the handler") }))))
	srv.Config.ErrorLog = log.New(&text, "", 0)
	srv.Start()
	defer srv.Close()
	dial(t, srv.Listener.Addr().String(), "")
	eventually(t, "logged", func() bool { return strings.Contains(text.String(), "panic serving") })
}

// TestContextInFrontIsTheHandlers: the deadline that a middleware gives it reaches the
// handler, as without Upgrade, and ends nothing else.
func TestContextInFrontIsTheHandlers(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		synctest.Test(t, func(t *testing.T) {
			_, conns, stream := started(t)
			start, ended := time.Now(), make(chan error, 1)
			inner := wrap.around(websocket.Handler(func(ws *websocket.Conn) {
				conns.Add("a", ws)
				defer conns.Del("a")
				go func() {
					<-ws.Request().Context().Done()
					ended <- ws.Request().Context().Err()
				}()
				io.Copy(io.Discard, ws)
			}))
			_, ws := serveMemory(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
				defer cancel()
				inner.ServeHTTP(w, r.WithContext(ctx))
			}))("id=a")
			go func() { // answers pings
				time.Sleep(30 * time.Second)
				synctest.Wait()
				select {
				case err := <-ended:
					if err != context.DeadlineExceeded {
						t.Errorf("after %v: %v", time.Since(start), err)
					}
				default:
					t.Error("the deadline has passed, and the context has not ended")
				}
				time.Sleep(time.Hour)
				add(t, stream, "a", "still here")
			}()
			equal(t, "received", lines(t, bufio.NewReader(ws), 1), []string{"still here"})
			ws.Close()
		})
	})
}

// TestTimeoutHandlerInFrontAnswers500: it cannot hijack.
func TestTimeoutHandlerInFrontAnswers500(t *testing.T) {
	addr := serve(t, nil, http.TimeoutHandler(gcpool.Upgrade(websocket.Handler(func(*websocket.Conn) {})), time.Minute, ""))
	resp, body := response(t, ask(t, addr, http.MethodGet, "Connection: close\r\n"))
	if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "cannot serve WebSockets") {
		t.Errorf("%v %q", resp, body)
	}
}
