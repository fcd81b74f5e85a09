package libraries

import (
	"errors"
	"net"
	"net/http"
)

// A library is one way to serve WebSockets.
type library struct {
	name    string
	offer   string // the client's Sec-WebSocket-Extensions
	handler func(h *host) http.Handler
	accept  func(h *host, conn net.Conn) // in place of handler, without net/http
	silent  bool                         // leaves the answer to a close frame to the pool
	pump    bool                         // reads nothing more once its handler has ended
	closed  bool                         // cannot leave a message open
	locks   bool                         // answers no ping while a message is open
	loose   bool                         // reads frames, not messages
	// hollow is for gws, whose compression context includes the
	// payloads of pings and pongs (doWrite in its writer.go). No peer
	// can decompress a message after a ping or pong with a payload.
	hollow bool
}

const (
	fresh = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	kept  = "permessage-deflate"
)

var libraries = []library{
	{name: "gorilla", handler: gorillaHandler(gorillaWay{})},
	{name: "gorilla pump", pump: true, handler: gorillaHandler(gorillaWay{pump: true})},
	{name: "gorilla wrapped deflate", offer: fresh, handler: gorillaHandler(gorillaWay{wrapped: true, deflate: true})},
	{name: "gws", locks: true, handler: gwsHandler(false, false)},
	{name: "gws deflate", offer: fresh, locks: true, handler: gwsHandler(true, false)},
	{name: "gws deflate takeover", offer: kept, hollow: true, locks: true, handler: gwsHandler(true, true)},
	{name: "coder", handler: coderHandler(0)},
	{name: "coder deflate", offer: fresh, handler: coderHandler(2)},
	{name: "coder deflate takeover", offer: kept, handler: coderHandler(1)},
	{name: "gobwas", handler: gobwasHandler(false)},
	{name: "gobwas deflate", offer: fresh, handler: gobwasHandler(true)},
	{name: "gobwas without net/http", pump: true, accept: acceptGobwas},
	{name: "melody", closed: true, handler: melodyHandler(false)},
	{name: "melody deflate", offer: fresh, closed: true, handler: melodyHandler(true)},
	{name: "xnet", handler: xnetHandler, silent: true, loose: true, closed: true},
}

// errUnable is returned for anything that a library cannot do.
var errUnable = errors.New("this library cannot do that")

// A socket is a library's connection, as a handler uses it.
type socket interface {
	// conn returns the connection that the handler adds to the pool.
	conn() net.Conn
	// read reads until the connection ends or received returns false.
	read(received func(p []byte) bool)
	// write sends a binary message in the given number of parts.
	write(p []byte, parts int) error
	// begin sends the first part of a binary message and leaves it open; finish ends it with
	// tail. err is errUnable if the library cannot leave a message open.
	begin(p []byte) (finish func(tail []byte) error, err error)
	ping(p []byte) error
	close() error
}

// split cuts p into parts; the last part has the rest.
func split(p []byte, parts int) (all [][]byte) {
	for ; parts > 1; parts-- {
		n := len(p) / parts
		all, p = append(all, p[:n]), p[n:]
	}
	return append(all, p)
}
