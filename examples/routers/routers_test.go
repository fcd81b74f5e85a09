package routers

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/mux"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	"github.com/nulijiabei/gcpool"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"golang.org/x/net/websocket"
)

// around is a middleware.
type around func(http.Handler) http.Handler

// A router passes GET /ws/{id} on to h, through a middleware.
type router struct {
	routes func(h http.Handler, front around) http.Handler
	id     func(r *http.Request) string // as the router tells it, at this moment
}

// params finds, in a request's context, a router's own context, which it uses again for
// the next request when the handler has returned.
type params struct{}

func with(r *http.Request, own any) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), params{}, own))
}

var routers = map[string]router{
	"chi": {
		func(h http.Handler, front around) http.Handler {
			r := chi.NewRouter()
			r.Use(middleware.RequestID, middleware.Recoverer, front)
			r.Get("/ws/{id}", h.ServeHTTP)
			return r
		},
		func(r *http.Request) string { return chi.URLParam(r, "id") },
	},
	"gin": {
		func(h http.Handler, front around) http.Handler {
			gin.SetMode(gin.ReleaseMode)
			r := gin.New()
			r.Use(gin.Recovery(), func(c *gin.Context) {
				front(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { c.Next() })).ServeHTTP(c.Writer, c.Request)
				c.Abort()
			})
			r.GET("/ws/:id", func(c *gin.Context) { h.ServeHTTP(c.Writer, with(c.Request, c)) })
			return r
		},
		func(r *http.Request) string { return r.Context().Value(params{}).(*gin.Context).Param("id") },
	},
	"echo": {
		func(h http.Handler, front around) http.Handler {
			e := echo.New()
			e.Use(echo.WrapMiddleware(front))
			e.GET("/ws/:id", func(c echo.Context) error {
				h.ServeHTTP(c.Response(), with(c.Request(), c))
				return nil
			})
			return e
		},
		func(r *http.Request) string { return r.Context().Value(params{}).(echo.Context).Param("id") },
	},
	"gorilla/mux": {
		func(h http.Handler, front around) http.Handler {
			r := mux.NewRouter()
			r.Use(mux.MiddlewareFunc(front))
			r.Handle("/ws/{id}", h)
			return r
		},
		func(r *http.Request) string { return mux.Vars(r)["id"] },
	},
	"otelhttp": {
		func(h http.Handler, front around) http.Handler { return otelhttp.NewHandler(front(stdlib(h)), "ws") },
		func(r *http.Request) string { return r.PathValue("id") },
	},
	"gzhttp": {
		func(h http.Handler, front around) http.Handler { return gzhttp.GzipHandler(front(stdlib(h))) },
		func(r *http.Request) string { return r.PathValue("id") },
	},
}

func stdlib(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /ws/{id}", h)
	return mux
}

// limiter lets in two requests at a time, counts them, and cleans up behind each.
type limiter struct{ open, cleaned atomic.Int64 }

func (l *limiter) front(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer l.open.Add(-1)
		if l.open.Add(1) > 2 {
			http.Error(w, "too many", http.StatusTooManyRequests)
			return
		}
		defer l.cleaned.Add(1)
		h.ServeHTTP(w, r)
	})
}

// orders are the ways in which a router and Upgrade may be around each other.
var orders = map[string]func(r router, h http.Handler, front around) http.Handler{
	"around Upgrade": func(r router, h http.Handler, front around) http.Handler { return r.routes(gcpool.Upgrade(h), front) },
	"inside Upgrade": func(r router, h http.Handler, front around) http.Handler { return gcpool.Upgrade(r.routes(h, front)) },
	"between two": func(r router, h http.Handler, front around) http.Handler {
		return gcpool.Upgrade(r.routes(gcpool.Upgrade(h), front))
	},
}

// each runs a test for each router in each order.
func each(t *testing.T, test func(t *testing.T, serve func(h http.Handler, front around) http.Handler, id func(*http.Request) string)) {
	for name, r := range routers {
		for order, put := range orders {
			t.Run(name+" "+order, func(t *testing.T) {
				test(t, func(h http.Handler, front around) http.Handler { return put(r, h, front) }, r.id)
			})
		}
	}
}

// TestWhatIsInFrontLastsAsLongAsTheHandler: a limit of those in flight, a gauge and a
// deferred call, each as the router has it.
func TestWhatIsInFrontLastsAsLongAsTheHandler(t *testing.T) {
	each(t, func(t *testing.T, serve func(http.Handler, around) http.Handler, id func(*http.Request) string) {
		pool := started(t)
		l := new(limiter)
		addr := listen(t, serve(users(pool, id), l.front))
		a, b := dial(t, addr, "a"), dial(t, addr, "b")
		for range 5 {
			if ws, err := open(addr, "c"); err == nil {
				ws.Close()
				t.Fatal("a third is let in")
			}
		}
		eventually(t, "the refused are gone", func() bool { return l.open.Load() == 2 })
		if n := l.cleaned.Load(); n != 0 {
			t.Fatalf("%d of 2 that run are cleaned up", n)
		}
		for _, to := range []*websocket.Conn{a, b} {
			pushed(t, pool, to)
		}
		a.Close()
		eventually(t, "cleaned up", func() bool { return l.open.Load() == 1 && l.cleaned.Load() == 1 })
		dial(t, addr, "c")
	})
}

// TestHandlerSeesItsOwnID, after the router has served others.
func TestHandlerSeesItsOwnID(t *testing.T) {
	each(t, func(t *testing.T, serve func(http.Handler, around) http.Handler, id func(*http.Request) string) {
		pool := started(t)
		addr := listen(t, serve(users(pool, id), func(h http.Handler) http.Handler { return h }))
		a := dial(t, addr, "a")
		for range 20 {
			resp, err := http.Get("http://" + addr + "/ws/another")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			dial(t, addr, "b").Close()
		}
		pushed(t, pool, a)
	})
}

// TestThrottle is chi's own limit.
func TestThrottle(t *testing.T) {
	each(t, func(t *testing.T, serve func(http.Handler, around) http.Handler, id func(*http.Request) string) {
		pool := started(t)
		addr := listen(t, serve(users(pool, id), middleware.Throttle(2)))
		dial(t, addr, "a")
		dial(t, addr, "b")
		if _, err := open(addr, "c"); err == nil {
			t.Error("a third is let in")
		}
	})
}

func started(t *testing.T) *gcpool.Pool {
	pool := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)))
	pool.Register("users")
	pool.Start()
	t.Cleanup(func() { pool.Shutdown(context.Background()) })
	return pool
}

// users is the handler: it adds the user, and for each line that it reads pushes to
// him who the router says he is now.
func users(pool *gcpool.Pool, id func(*http.Request) string) http.Handler {
	return websocket.Server{Handshake: gcpool.SameOrigin, Handler: func(ws *websocket.Conn) {
		user := strings.Clone(id(ws.Request()))
		if pool.GetConn("users").Add(user, ws) != nil {
			return
		}
		defer pool.GetConn("users").Del(user)
		for lines := bufio.NewScanner(ws); lines.Scan(); {
			pool.GetStream("users").Add(user, []byte(id(ws.Request())))
		}
	}}
}

func listen(t *testing.T, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// open connects as a browser does, which accepts gzip.
func open(addr, id string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig("ws://"+addr+"/ws/"+id, "http://"+addr)
	if err != nil {
		return nil, err
	}
	config.Header.Set("Accept-Encoding", "gzip, deflate, br")
	return websocket.DialConfig(config)
}

func dial(t *testing.T, addr, id string) *websocket.Conn {
	t.Helper()
	ws, err := open(addr, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// pushed asks the handler who its user is, and fails unless that is so.
func pushed(t *testing.T, pool *gcpool.Pool, ws *websocket.Conn) {
	t.Helper()
	path := ws.Config().Location.Path
	ws.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := ws.Write([]byte("who am I?\n")); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(ws).ReadString('\n')
	if want := strings.TrimPrefix(path, "/ws/") + "\n"; err != nil || got != want {
		t.Errorf("received %q, %v; want %q", got, err, want)
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}
