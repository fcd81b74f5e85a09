package gcpool

import (
	"cmp"
	"context"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/socket"
	"github.com/nulijiabei/gcpool/internal/upgrade"
)

// Upgrade wraps a handler that serves WebSockets, with golang.org/x/net/websocket or any other
// library (see [Conn]), alone or behind routers and middleware. It makes the WebSockets fast and
// light. A [ConnPool] then writes whole batches of frames past the library, finds a dead peer
// within two heartbeats, and ends each connection with a close handshake. The library's frames and
// the pool's take turns. The handler must keep reading: the library answers pings only while it
// reads, and the pool hears only what the handler reads.
//
// For a request that asks for a WebSocket, Upgrade hijacks the connection, clears its deadlines and
// runs h. If h answers with anything but a handshake, its response may have up to 64 KiB; a larger
// response becomes a 500. Every other request goes to h untouched, even an HTTP/1.1 request that
// asks for a WebSocket with a method other than GET. As always, http.Server.Shutdown does not wait
// for hijacked connections; [Pool.Shutdown] does.
//
// Where Upgrade cannot hijack, it answers 500 and logs why to [slog.Default], at Warn: over HTTP/2,
// under [http.TimeoutHandler], and behind a middleware whose ResponseWriter has neither Hijack nor
// Unwrap. On an event-loop server such as nbio's engine, which keeps reading from a hijacked
// connection, Upgrade closes the connection and logs why. A server that also speaks HTTP/2 needs no
// change, because clients ask for a WebSocket over HTTP/1.1; only GODEBUG=http2xconnect=1 invites
// them to use HTTP/2.
//
// A listener that wraps its connections hides their sockets. LimitListener of
// golang.org/x/net/netutil does so, as do a listener for the PROXY protocol and a listener that
// counts bytes. Then the pool cannot see what a peer's system has acknowledged, and cannot bound
// the send buffer. A peer that reads slowly may be closed as slow or silent although it reads, even
// at a takeover, and loses what the buffer holds. Prefer a middleware in front of Upgrade that
// limits or counts, or raise [WithWriteTimeout] and [WithHeartbeat].
//
// Behind a proxy, the pool sees the proxy's system, not the client's. A proxy that buffers
// megabytes for a client takes nothing more until the client has read about a third of the buffer.
// A client that needs longer than WithWriteTimeout to read that third is closed as slow, whatever
// [WithOverflow] says. A client that needs longer than a heartbeat to read the whole buffer is
// closed as silent. Bound the send buffer of the proxy, or raise both times.
//
// # Closing
//
// Each connection gets a single close frame (RFC 6455 section 5.5.1), from the first to close it:
// the library, the pool or, if a library closes without a close frame, Upgrade, with code 1000. A
// goroutine then reads and drops what the peer still sends, until the peer closes too, for at most
// a second. When the peer has answered, or after half a second, Upgrade shuts the write side, over
// TLS with close_notify. Meanwhile a Read of the library waits, and then returns [net.ErrClosed];
// Close returns at once. So a browser sees the code that was sent, and not 1006. In
// [Pool.Shutdown], and whenever the peer's close frame arrives before the dropping begins, the
// library still reads that frame.
//
// If a push fails because the peer has gone, the pool removes the connection, but the library still
// reads what the peer had sent before it left, up to its close frame, for up to 10 s. Without
// Upgrade, a handler of x/net has half a second for that.
//
// # The handshake
//
// The headers Connection and Upgrade are lists: on one line or several, alone or with other words,
// in upper or lower case (RFC 6455 section 4.2.1, RFC 9110 section 5.3). Some libraries read only
// the first line, so h sees each list on one line.
//
// A request that asks for a WebSocket but is not a valid handshake never reaches h. It gets 400 and
// the reason if it is HTTP/1.0 or has no Sec-WebSocket-Key of 16 bytes in base64. If it asks for
// another version of the protocol, it gets 426, and the response names version 13.
//
// If the client has already closed its connection, h does not run. After a pause, a process may
// find many such requests, and each would replace the connection that its user has opened
// meanwhile. Upgrade cannot see this on Windows and AIX, nor through a listener that wraps its
// connections.
//
// When h answers 403 after [SameOrigin] or [AllowOrigins] has refused the Origin, Upgrade logs the
// Origin to [slog.Default] at Info: shortened, and quoted if it has a quote, a backslash or
// anything unprintable. If the 403 has no text of its own, as with x/net, the reason becomes its
// body.
//
// # In front of Upgrade
//
// If http.Server or its [http.ServeMux] calls Upgrade directly, which Upgrade sees from the stack,
// ServeHTTP returns at once and h runs on a goroutine of its own. So net/http frees 8 KiB of
// buffers and a stack for each connection. The context of the request keeps its values, but
// outlives the contexts of the server and of http.Server.BaseContext. A panic of h is logged as
// net/http logs it.
//
// Anything else in front is middleware: a router, [http.StripPrefix], or a function that only calls
// Upgrade. Then ServeHTTP returns when h has returned, and the middleware works as it does without
// Upgrade: a limit of concurrent requests counts the connection, a deferred call runs when h has
// returned, a recover sees the panic of h, and the context of h ends with the context of the
// middleware. Only the close may take another second. A middleware that gives each request 30 s
// also gives a WebSocket 30 s. The pool keeps writing after that, but do not put a handler that
// watches its context behind such a middleware.
//
// If that context ends, or http.Server.BaseContext does, and h then ends its connection without a
// close code of its own, the peer gets code 1001 in place of 1000, and comes back. Middleware
// inside Upgrade, around h, also lasts as long as h, and costs no buffers.
//
// The response of h has the headers that were set in front, but bypasses the middleware there: an
// access log in front does not see its status, and a gzip middleware in front does not encode it.
//
// Either way, the context ends when h returns, or after 10 s without a handshake, because nothing
// else shows that a peer has left before the handshake.
func Upgrade(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !asksForWebSocket(req) || upgrade.FromContext(req.Context()) != nil {
			h.ServeHTTP(w, req)
			return
		}
		if status, why := malformed(req); status != 0 {
			refuse(w, status, why)
			return
		}
		conn, early, err := hijack(w)
		if err != nil {
			refuseWithoutHijack(w, req, err)
			return
		}
		if socket.Gone(conn) {
			conn.Close()
			return
		}
		conn.SetDeadline(time.Time{})
		u, alone := &upgraded{Context: req.Context()}, calledByServer()
		if alone { // the request's context ends when this returns
			u.Context = withoutEnd(u.Context)
		}
		u.conn = upgrade.NewConn(conn, early, u.Context.Done())
		if front := w.Header(); len(front) > 0 {
			u.header = front.Clone()
			for _, name := range notFromFront {
				u.header.Del(name)
			}
		}
		if alone {
			go u.serve(h, req, true)
		} else {
			u.serve(h, req, false)
		}
	})
}

// Conn returns the connection under a request that [Upgrade] serves, or nil if Upgrade does not
// serve it. Any library may speak WebSocket on this connection, such as gorilla, coder, gws, gobwas
// or melody. Add the connection to a [ConnPool], and use the library as before:
//
//	ws, err := upgrader.Upgrade(w, r, nil) // of github.com/gorilla/websocket
//	...
//	pool.GetConn("users").Add("alice", gcpool.Conn(r))
//
// The library reads, answers pings and writes messages. Its messages and the pool's take turns. The
// library's control frames wait only for messages of its own, and its write deadline bounds only
// its own writes. When the library closes the connection, the pool removes it about a second later.
// When the pool closes the connection, the library's Read returns [net.ErrClosed], or, if the peer
// has answered first, as it does in [Pool.Shutdown], the library's close error with the pool's
// code.
//
// The pool's messages are not compressed, even if the library has negotiated permessage-deflate,
// which allows that (RFC 7692 section 6).
//
// While a message of the library is unfinished, the messages of the pool wait (RFC 6455 section
// 5.4). Do not call [StreamPool.Deliver] for the handler's own id inside such a message: the call
// would wait for itself. If the message makes no progress for [WithWriteTimeout] while others wait
// for it, the pool closes the connection.
//
// You may call Conn before the handshake. The pool's messages wait until the response to the
// handshake is out. If the pool closes the connection before that, the handshake may fail, and the
// peer sees no code, so add the connection after the handshake if you can. With x/net you may also
// add the *[websocket.Conn].
func Conn(r *http.Request) net.Conn {
	if r == nil {
		return nil
	}
	c, _ := r.Context().Value(upgrade.ConnKey{}).(net.Conn) // nil without a type
	return c
}

// NewConn returns what [Conn] returns, for a server that speaks WebSocket without net/http, as with
// gobwas/ws. Call it after the handshake, with the server's own connection, preferably TCP or TLS.
// From then on, read from and write to the connection that NewConn returns:
//
//	_, err := ws.Upgrade(conn) // of github.com/gobwas/ws
//	...
//	conn = gcpool.NewConn(conn)
//	pool.GetConn("users").Add("alice", conn)
//
// Without [Upgrade] and [SameOrigin], the server itself must bound the time of the handshake and
// check the Origin. It closes the connection at the end, and need not read after that.
func NewConn(conn net.Conn) net.Conn {
	if socket.IsNil(conn) {
		return nil
	}
	return upgrade.NewOpen(conn)
}

// upgraded is the ResponseWriter of a hijacked handshake, and its context. The library hijacks the
// connection again, from here. A handler that refuses the handshake writes a plain response to
// upgraded.
type upgraded struct {
	context.Context
	conn     *upgrade.Conn
	header   http.Header // made when it is asked for
	sent     http.Header // header, when the status was set
	status   int
	body     []byte
	cut      bool // body had to be more than responseMax
	hijacked bool

	refused atomic.Pointer[refusal] // of the Origin; explain acts on it if the status is 403
}

const (
	handshakeTime = 10 * time.Second
	responseMax   = 64 << 10
	hijackBuffer  = 272 // the least that gorilla keeps; otherwise it would allocate its own 4 KiB
)

// serve runs the handler. If the handler has not hijacked the connection, serve sends the handler's
// response and closes the connection; a hijacked connection belongs to its new owner, as with
// net/http. If the handler runs alone, no caller recovers its panic, so serve logs it.
func (u *upgraded) serve(h http.Handler, req *http.Request, alone bool) {
	ctx, cancel := context.WithCancel(u)
	req = req.WithContext(ctx)
	req.Header = singleLines(req.Header)
	req.Body, req.ContentLength = http.NoBody, 0 // what follows the head belongs to the connection
	u.conn.Handshake.Store(time.AfterFunc(handshakeTime, cancel))
	defer func() {
		if !u.hijacked {
			u.conn.Close()
		}
		u.conn.Handshake.Stop() // there may never be a response
		u.conn.Abandon()
	}()
	defer cancel()
	if alone {
		defer u.logPanic(req.RemoteAddr)
	}
	h.ServeHTTP(u, req) // from here on, only the handler holds req
	if !u.hijacked {
		u.answer()
	}
}

// Value finds u, its connection and its address in the handler's context.
func (u *upgraded) Value(key any) any {
	switch key {
	case upgradedKey{}:
		return u
	case upgrade.ConnKey{}:
		return u.conn
	case http.LocalAddrContextKey:
		return u.conn.LocalAddr()
	}
	return u.Context.Value(key)
}

// Err is called only after the context has ended. The context of fasthttp, on which Fiber is built,
// has no error by then, and package context would panic.
func (u *upgraded) Err() error { return cmp.Or(u.Context.Err(), context.Canceled) }

// logPanic, which is deferred, recovers a panic and logs it as net/http does.
func (u *upgraded) logPanic(peer string) {
	v := recover()
	if v == nil || v == http.ErrAbortHandler {
		return
	}
	logf := log.Printf
	if srv, _ := u.Context.Value(http.ServerContextKey).(*http.Server); srv != nil && srv.ErrorLog != nil {
		logf = srv.ErrorLog.Printf
	}
	logf("http: panic serving %v: %v\n%s", peer, v, debug.Stack())
}
