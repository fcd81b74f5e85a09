package page

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Serve serves h until ctx ends, and then stops accepting connections. WebSockets stay connected,
// because net/http does not know of them; gcpool's Pool.Shutdown closes them.
func Serve(ctx context.Context, listener net.Listener, h http.Handler) error {
	web := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	quit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if web.Shutdown(quit) != nil {
		web.Close() // a browser may hold a spare connection open for longer
	}
	<-ended
	return nil
}

// Link returns the URL of the page. It has the listener's port, because addr may say port 0.
func Link(addr string, listening net.Addr) string {
	_, port, _ := net.SplitHostPort(listening.String())
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
