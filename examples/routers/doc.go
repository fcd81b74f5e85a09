// Package routers tests gcpool.Upgrade with popular routers and middleware, around it and
// inside it:
//
//	github.com/go-chi/chi/v5        r.Handle("/ws/{id}", gcpool.Upgrade(h))
//	github.com/gin-gonic/gin        r.GET("/ws/:id", gin.WrapH(gcpool.Upgrade(h)))
//	github.com/labstack/echo/v4     e.GET("/ws/:id", echo.WrapHandler(gcpool.Upgrade(h)))
//	github.com/gorilla/mux          r.Handle("/ws/{id}", gcpool.Upgrade(h))
//	otelhttp                        otelhttp.NewHandler(gcpool.Upgrade(h), "ws")
//	klauspost/compress/gzhttp       gzhttp.GzipHandler(gcpool.Upgrade(h))
//
// A router around Upgrade returns only when the connection ends, and net/http keeps its
// buffers that long. With Upgrade around the router, net/http frees them.
package routers
