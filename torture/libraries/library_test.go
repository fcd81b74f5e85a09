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
	silent  bool                         // does not answer a close frame: that is left to the pool
	pump    bool                         // nobody reads any more when its handler has ended
	closed  bool                         // cannot leave a message open
	locks   bool                         // answers no ping while it does
	loose   bool                         // reads frames, not messages
	// hollow is for gws, whose context takes in the payloads of pings and pongs, too (doWrite
	// in its writer.go): no peer can decompress what follows one that has any.
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

// errUnable is returned for what a library cannot do.
var errUnable = errors.New("this library cannot do that")

// A socket is a library's connection, as a handler uses it.
type socket interface {
	// conn is what the handler adds to the pool.
	conn() net.Conn
	// read reads until the connection ends or received returns false.
	read(received func(p []byte) bool)
	// write sends a binary message in so many parts.
	write(p []byte, parts int) error
	// begin sends the first part of a binary message and leaves it open. finish ends it with
	// tail; err is errUnable where a message cannot be left open.
	begin(p []byte) (finish func(tail []byte) error, err error)
	ping(p []byte) error
	close() error
}

// split cuts p into parts; the last has what is left.
func split(p []byte, parts int) (all [][]byte) {
	for ; parts > 1; parts-- {
		n := len(p) / parts
		all, p = append(all, p[:n]), p[n:]
	}
	return append(all, p)
}
