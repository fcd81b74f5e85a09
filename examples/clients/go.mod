module github.com/nulijiabei/gcpool/examples/clients

go 1.26.0

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	github.com/nulijiabei/gcpool v1.0.0-rc.2
	golang.org/x/net v0.62.0
)

require github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect

replace github.com/nulijiabei/gcpool => ../..
