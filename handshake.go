package gcpool

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/websocket"
)

// subprotocol is the header in which a client offers subprotocols, and a server names the one that
// it has chosen.
const subprotocol = "Sec-Websocket-Protocol"

// asksForWebSocket checks the part of RFC 6455 section 4.2.1 that tells a handshake from other
// requests; over HTTP/2, it checks RFC 8441 section 4.
func asksForWebSocket(req *http.Request) bool {
	if req.Method == http.MethodConnect {
		return strings.EqualFold(req.Header.Get(":protocol"), "websocket")
	}
	return req.Method == http.MethodGet && hasToken(req.Header, "Upgrade", "websocket") &&
		hasToken(req.Header, "Connection", "upgrade")
}

// malformed returns the status and the reason with which to refuse a request that asks for a
// WebSocket but breaks the rest of RFC 6455 section 4.2.1. The status is 0 if the request breaks
// nothing.
func malformed(req *http.Request) (status int, why string) {
	if req.Method == http.MethodConnect {
		return 0, "" // has neither key nor version, RFC 8441 section 5
	}
	if !req.ProtoAtLeast(1, 1) {
		return http.StatusBadRequest, fmt.Sprintf("the request must be HTTP/1.1, but is %s; a proxy in front may have changed it", req.Proto)
	}
	if version := req.Header.Values("Sec-Websocket-Version"); len(version) != 1 || version[0] != websocket.SupportedProtocolVersion {
		return http.StatusUpgradeRequired, "the Sec-WebSocket-Version must be " + websocket.SupportedProtocolVersion
	}
	keys := req.Header.Values("Sec-Websocket-Key")
	if len(keys) != 1 {
		return http.StatusBadRequest, fmt.Sprintf("the request has %d Sec-WebSocket-Key headers, and must have one", len(keys))
	}
	if nonce, err := base64.StdEncoding.DecodeString(keys[0]); err != nil || len(nonce) != 16 {
		return http.StatusBadRequest, "the Sec-WebSocket-Key must be 16 bytes in base64"
	}
	return 0, ""
}

// refuse answers a malformed handshake. If the handshake asks for another version of the protocol,
// the answer names the version that this server speaks (RFC 6455 section 4.4), and the protocol to
// upgrade to (RFC 9110 section 15.5.22).
func refuse(w http.ResponseWriter, status int, why string) {
	h := w.Header()
	h.Set("Connection", "close")
	if status == http.StatusUpgradeRequired {
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "websocket")
		h.Set("Sec-WebSocket-Version", websocket.SupportedProtocolVersion)
	}
	http.Error(w, "not a WebSocket handshake (RFC 6455 section 4.2.1): "+why, status)
}

// refuseWithoutHijack answers a request whose connection cannot be hijacked. It also logs the
// reason, because a browser hides the answer from its page.
func refuseWithoutHijack(w http.ResponseWriter, req *http.Request, err error) {
	why := fmt.Sprintf("this server cannot serve WebSockets over %s here: %v", req.Proto, err)
	if errors.Is(err, http.ErrNotSupported) && req.ProtoMajor == 1 {
		why += fmt.Sprintf("; its ResponseWriter (%T), or one inside, has neither Hijack nor Unwrap, see http.ResponseController; a test needs httptest.NewServer", w)
	}
	slog.Default().Warn("gcpool: WebSocket refused", "reason", why, "peer", req.RemoteAddr)
	http.Error(w, why, http.StatusInternalServerError)
}

// singleLines returns h with each list of a handshake on one line, and a WebSocket as the only
// protocol to upgrade to, because libraries may read only the first line and compare it as a whole.
// It does not change h itself, which also belongs to the middleware in front.
func singleLines(h http.Header) http.Header {
	lists := []string{"Connection", subprotocol, "Sec-Websocket-Extensions"}
	split := func(name string) bool { return len(h[name]) > 1 }
	if strings.EqualFold(strings.Join(h["Upgrade"], ", "), "websocket") && !slices.ContainsFunc(lists, split) {
		return h
	}
	h = maps.Clone(h)
	h.Set("Upgrade", "websocket")
	for _, name := range lists {
		if split(name) {
			h.Set(name, strings.Join(h[name], ", "))
		}
	}
	return h
}

// hasToken reports whether a header is a list that contains token, in upper or lower case.
func hasToken(h http.Header, name, token string) bool {
	return slices.ContainsFunc(tokens(h, name), func(t string) bool { return strings.EqualFold(t, token) })
}

// tokens returns the elements of a header that is a list, from all its lines (RFC 9110 section
// 5.3).
func tokens(h http.Header, name string) []string {
	var all []string
	for element := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		if element = strings.Trim(element, " \t"); element != "" {
			all = append(all, element)
		}
	}
	return all
}

// Subprotocols returns a function for [websocket.Server].Handshake. The function calls handshake,
// or [SameOrigin] if handshake is nil. If that lets the client in, the function chooses the first
// of names that the client offers; the handler finds the choice in ws.Config().Protocol. A client
// that offers none of names gets in without a subprotocol; a browser whose page has offered some
// then ends the connection.
//
// Names are compared byte by byte. The server's order decides, as with Upgrader.Subprotocols of
// gorilla and AcceptOptions.Subprotocols of coder; with those libraries, use their own fields.
func Subprotocols(handshake func(*websocket.Config, *http.Request) error, names ...string) func(*websocket.Config, *http.Request) error {
	if handshake == nil {
		handshake = SameOrigin
	}
	names = slices.Clone(names)
	return func(config *websocket.Config, req *http.Request) error {
		if err := handshake(config, req); err != nil {
			return err
		}
		config.Protocol = nil // x/net has put all that the client offers there
		offered := tokens(req.Header, subprotocol)
		if i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(offered, name) }); i >= 0 {
			config.Protocol = []string{names[i]}
		}
		return nil
	}
}
