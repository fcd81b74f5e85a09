module github.com/nulijiabei/gcpool/e2e

go 1.26.0

tool github.com/nulijiabei/gcpool/examples/push

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	github.com/coder/websocket v1.8.15
	github.com/gobwas/ws v1.5.0
	github.com/gorilla/websocket v1.5.3
	github.com/grafana/grafana-foundation-sdk/go v0.0.22
	github.com/lxzan/gws v1.8.9
	github.com/nulijiabei/gcpool v1.0.0-rc.2
	github.com/olahol/melody v1.1.4
	golang.org/x/mod v0.43.0
	golang.org/x/net v0.62.0
)

require (
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/klauspost/compress v1.17.9 // indirect
)

replace github.com/nulijiabei/gcpool => ../
