package gcpool

import (
	"net/http"
	"strings"
)

// asksForWebSocket is RFC 6455 section 4.2.1, as far as it tells a handshake
// from other requests, and over HTTP/2 RFC 8441 section 4.
func asksForWebSocket(req *http.Request) bool {
	if req.Method == http.MethodConnect {
		return strings.EqualFold(req.Header.Get(":protocol"), "websocket")
	}
	return req.Method == http.MethodGet && strings.EqualFold(req.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(req.Header.Get("Connection")), "upgrade")
}
