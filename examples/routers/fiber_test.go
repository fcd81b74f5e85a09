//go:build !race

// fasthttp's adaptor uses the request's context again once the connection has closed, while the
// handler may still run. The race detector reports that, with and without gcpool.

package routers

import (
	"net"
	"net/http"
	"path"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/nulijiabei/gcpool"
)

// TestFiber: a server that is not net/http's. It is shut down while a connection is open, when its
// contexts end without an error.
func TestFiber(t *testing.T) {
	pool := started(t)
	app := fiber.New()
	app.Get("/ws/:id", adaptor.HTTPHandler(gcpool.Upgrade(users(pool, func(r *http.Request) string { return path.Base(r.URL.Path) }))))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
	a, b := dial(t, l.Addr().String(), "a"), dial(t, l.Addr().String(), "b")
	pushed(t, pool, a)
	pushed(t, pool, b)
	if kind := pool.GetConn("users").Info("a").Kind; kind != "WebSocket under Upgrade" {
		t.Errorf("it is written to as a %s", kind)
	}
	a.Close()
	eventually(t, "gone", func() bool { return pool.GetConn("users").Connected("a") == 0 })
	pushed(t, pool, b)
	if err := app.Shutdown(); err != nil {
		t.Error(err)
	}
	pushed(t, pool, b)
}
