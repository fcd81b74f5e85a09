// Package routers tests gcpool.Upgrade with popular routers and middleware, around it and
// inside it:
//
//	github.com/go-chi/chi/v5        r.Handle("/ws/{id}", gcpool.Upgrade(h))
//	github.com/gin-gonic/gin        r.GET("/ws/:id", gin.WrapH(gcpool.Upgrade(h)))
//	github.com/labstack/echo/v4     e.GET("/ws/:id", echo.WrapHandler(gcpool.Upgrade(h)))
//	github.com/gorilla/mux          r.Handle("/ws/{id}", gcpool.Upgrade(h))
//	otelhttp                        otelhttp.NewHandler(gcpool.Upgrade(h), "ws")
//	klauspost/compress/gzhttp       gzhttp.GzipHandler(gcpool.Upgrade(h))
//	github.com/gofiber/fiber/v3     app.Get("/ws", adaptor.HTTPHandler(gcpool.Upgrade(h)))
//
// Fiber runs on fasthttp, not on net/http, and Upgrade works there through the adaptor of fasthttp
// v1.58 or later; Fiber v2 needs a newer fasthttp in go.mod than its own. The adaptor wraps the
// connection, so the pool cannot see the socket, and may close a peer that reads, but slowly (see
// gcpool.Upgrade). Copy the id with strings.Clone before you use it: fasthttp reuses the memory of
// a request as soon as its connection has closed, and a deferred Del could then name another user.
//
// A router around Upgrade returns only when the connection ends, and net/http keeps its
// buffers that long. With Upgrade around the router, net/http frees them.
package routers
