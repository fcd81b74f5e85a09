module github.com/nulijiabei/gcpool/torture

go 1.26.0

require (
	github.com/nulijiabei/gcpool v1.0.0-rc.1
	go.uber.org/goleak v1.3.0
	golang.org/x/net v0.62.0
	pgregory.net/rapid v1.3.0
)

replace github.com/nulijiabei/gcpool => ../
