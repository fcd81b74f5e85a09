module github.com/nulijiabei/gcpool/examples/adapters

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/gobwas/ws v1.5.0
	github.com/gorilla/websocket v1.5.3
	github.com/lxzan/gws v1.8.9
	github.com/nulijiabei/gcpool v1.0.0-rc.2
)

require golang.org/x/net v0.62.0 // indirect

require (
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/klauspost/compress v1.17.9 // indirect
	github.com/olahol/melody v1.1.4
)

replace github.com/nulijiabei/gcpool => ../..
