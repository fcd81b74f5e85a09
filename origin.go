package gcpool

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/websocket"
)

// SameOrigin is for [websocket.Server].Handshake: it accepts a browser only
// from a page of this very host, so that no other site can open a connection
// with the cookies of its visitors (RFC 6455 section 10.2). It compares the
// host of the Origin header with that of the request, its port included,
// whatever the scheme, since TLS may end in front of the server.
//
// A missing Origin, and "null", are refused, as [websocket.Handler] does; a
// client that is not a browser must send the header, or be let in by a
// Handshake function of the application's own. On success config.Origin is set.
// It does not block.
func SameOrigin(config *websocket.Config, req *http.Request) error {
	if config == nil || req == nil {
		return fmt.Errorf("%w: nil handshake", ErrInvalid)
	}
	text := req.Header.Get("Origin")
	origin, err := url.Parse(text)
	if err != nil || origin.Host == "" || origin.Scheme != "http" && origin.Scheme != "https" {
		return fmt.Errorf("gcpool: origin %q is not a web page's", text)
	}
	if !strings.EqualFold(authority(origin.Scheme, origin.Host), authority(origin.Scheme, req.Host)) {
		return fmt.Errorf("gcpool: origin %q is not this host, %q", text, req.Host)
	}
	config.Origin = origin
	return nil
}

// authority returns host with the port that scheme implies, if it has none.
func authority(scheme, host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "80"
	if scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}
