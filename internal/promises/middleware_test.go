package promises

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// limiter is middleware that admits a limited number of requests at a
// time, counts them, and cleans up after each.
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

// TestLimiterLastsAsLongAsTheHandler: middleware cleans up when the handler ends, both
// in front of Upgrade and behind it.
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
				t.Fatalf("%d were let in, and %d cleaned up", len(open), l.cleaned.Load())
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

// TestPanicReachesTheMiddlewareInFront: a panic in the handler reaches the middleware in front.
// If no middleware recovers it, net/http logs it.
func TestPanicReachesTheMiddlewareInFront(t *testing.T) {
	t.Parallel()
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

// TestContextInFrontIsTheHandlers: middleware in front sets a deadline on the request's context.
// The handler sees the deadline, as it would without Upgrade, and the deadline ends nothing else.
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

// TestTimeoutHandlerInFrontAnswers500: http.TimeoutHandler does not
// support hijacking, so the answer is 500.
func TestTimeoutHandlerInFrontAnswers500(t *testing.T) {
	addr := serve(t, nil, http.TimeoutHandler(gcpool.Upgrade(websocket.Handler(func(*websocket.Conn) {})), time.Minute, ""))
	resp, body := response(t, ask(t, addr, http.MethodGet, "Connection: close\r\n"))
	if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "cannot serve WebSockets") {
		t.Errorf("%v %q", resp, body)
	}
}

// TestMiddlewareThatHidesTheConnection: both the answer and the log say what is wrong, because
// a browser does not show the answer.
func TestMiddlewareThatHidesTheConnection(t *testing.T) {
	type hides struct{ http.ResponseWriter }
	text := logs(t)
	h := gcpool.Upgrade(websocket.Handler(func(*websocket.Conn) { t.Error("served") }))
	addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(hides{w}, r) }))
	resp, body := response(t, ask(t, addr, http.MethodGet, "Connection: close\r\n"))
	for _, why := range []string{body, text.String()} {
		if resp.StatusCode != http.StatusInternalServerError || !strings.Contains(why, "neither Hijack nor Unwrap") {
			t.Errorf("%d, %q", resp.StatusCode, why)
		}
	}
}

// engine is the ResponseWriter of a server that itself reads from its connections, as nbio's does.
type engine struct {
	http.ResponseWriter
	conn net.Conn
}

func (e engine) Hijack() (net.Conn, *bufio.ReadWriter, error) { return e.conn, nil, nil }

// TestServerThatGoesOnToRead: if the server itself goes on reading from a connection, Upgrade
// closes the connection and the log says why.
func TestServerThatGoesOnToRead(t *testing.T) {
	text := logs(t)
	peer, conn := net.Pipe()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
	gcpool.Upgrade(websocket.Handler(func(*websocket.Conn) { t.Error("served") })).ServeHTTP(engine{httptest.NewRecorder(), conn}, r)
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v", err)
	}
	if !strings.Contains(text.String(), "Hijack returned no buffers") {
		t.Errorf("logged %q", text.String())
	}
}

// logged is a ResponseWriter wrapped by middleware.
type logged struct{ http.ResponseWriter }

func (l logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

// TestUpgradeReturnsAtOnceOnlyToNetHTTP: any other code in front, even
// a plain function, may have work to do after the handler returns. So
// Upgrade returns early only when net/http itself is the caller.
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

// calls is a handler that only calls another one.
type calls struct{ h http.Handler }

func (c calls) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.h.ServeHTTP(w, r) }

// TestUpgradeWaitsUnderMiddleware: a router may reuse a request's context when its
// handler returns. Upgrade must not return while the handler runs, or the handler could
// see another request's id.
func TestUpgradeWaitsUnderMiddleware(t *testing.T) {
	t.Parallel()
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
			t.Parallel()
			returned := make(chan struct{})
			next := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
				ws.Read(make([]byte, 1)) // until the peer has looked at the id
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
				t.Error("Upgrade returned before its handler")
			case <-time.After(20 * time.Millisecond):
			}
			ws.Write([]byte("x"))
			<-returned
		})
	}
}

// derive derives a context from the request's, as middleware does.
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

// An errorless context is like fasthttp's: once it has ended it still has no error.
type errorless struct{ context.Context }

func (errorless) Err() error    { return nil }
func (errorless) Value(any) any { return nil } // package context looks here for a type of its own

// TestContextThatEndsWithoutAnError: if a parent context ends without an error, package context
// panics. Upgrade must avoid that.
func TestContextThatEndsWithoutAnError(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	h := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		<-ws.Request().Context().Done()
		ended <- ws.Request().Context().Err()
	}))
	addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(errorless{ctx}))
	}))
	dial(t, addr, "")
	end()
	if err := <-ended; err != context.Canceled {
		t.Errorf("the handler's context ends with %v", err)
	}
}
