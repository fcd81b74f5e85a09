// Package routers tests gcpool.Upgrade with routers and middleware of others, which
// may be around it or inside of it:
//
//	github.com/go-chi/chi/v5        r.Handle("/ws/{id}", gcpool.Upgrade(h))
//	github.com/gin-gonic/gin        r.GET("/ws/:id", gin.WrapH(gcpool.Upgrade(h)))
//	github.com/labstack/echo/v4     e.GET("/ws/:id", echo.WrapHandler(gcpool.Upgrade(h)))
//	github.com/gorilla/mux          r.Handle("/ws/{id}", gcpool.Upgrade(h))
//	otelhttp                        otelhttp.NewHandler(gcpool.Upgrade(h), "ws")
//	klauspost/compress/gzhttp       gzhttp.GzipHandler(gcpool.Upgrade(h))
//
// Around it, each of them ends with the connection, and net/http keeps its buffers for
// as long. With gcpool.Upgrade around the router, net/http lets go of them.
package routers
