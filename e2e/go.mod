module github.com/nulijiabei/gcpool/e2e

go 1.26.0

tool github.com/nulijiabei/gcpool/examples/push

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	github.com/grafana/grafana-foundation-sdk/go v0.0.22
	golang.org/x/net v0.62.0
)

require (
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	github.com/nulijiabei/gcpool v0.0.0-00010101000000-000000000000 // indirect
)

replace github.com/nulijiabei/gcpool => ../
