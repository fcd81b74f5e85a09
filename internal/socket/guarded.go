package socket

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Past is a deadline that makes a stuck write return at once.
var Past = time.Unix(1, 0)

// Guard runs one call into a connection, and turns a panic of it into an error.
func Guard(call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("gcpool: connection panicked: %v", v)
		}
	}()
	return call()
}

// Apart runs call, which calls conn's methods, on a goroutine of its own if those may wait for
// more than the socket: a type of the application's may have one lock for all of them.
func Apart(conn net.Conn, call func()) {
	if System(conn) {
		call()
	} else {
		go call()
	}
}

// Write is conn.Write for a conn that may break the rules of io.Writer. One that panics may
// have written something.
func Write(conn net.Conn, p []byte) (n int, err error) {
	n = min(1, len(p)) // should it panic
	err = Guard(func() error { n, err = conn.Write(p); return err })
	n = min(max(n, 0), len(p))
	if n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// WritePieces writes p a piece at a time, and tells progress between writes how much went.
func WritePieces(conn net.Conn, p []byte, progress func(n int)) (n int, err error) {
	for piece := PieceOf(conn); n < len(p) && err == nil; {
		if n > 0 {
			progress(n)
		}
		m := 0
		m, err = Write(conn, p[n:min(n+piece, len(p))])
		n += m
	}
	return n, err
}

// Closed reports whether conn has been closed on this side. The system tells so when a
// deadline is set: this clears conn's.
func Closed(conn net.Conn) bool {
	err := Guard(func() error { return conn.SetWriteDeadline(time.Time{}) })
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) // net.Pipe's, for either side
}

// Close closes the connection under TLS first: tls.Conn.Close waits up to 5 s for its last
// alert.
func Close(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		_ = Guard(secure.NetConn().Close)
	}
	_ = Guard(conn.Close)
}
