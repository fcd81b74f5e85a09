module github.com/nulijiabei/gcpool/docs/migrating

go 1.26.0

require (
	github.com/gorilla/websocket v1.5.3
	github.com/nulijiabei/gcpool v1.0.0-rc.2
	github.com/olahol/melody v1.1.4
	golang.org/x/net v0.62.0
)

replace github.com/nulijiabei/gcpool => ../..
