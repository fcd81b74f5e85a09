package socket

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// Past is a deadline that makes a stuck write return at once.
var Past = time.Unix(1, 0)

// Guard runs one call into a connection, and turns a panic of that call into an error.
func Guard(call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("gcpool: connection panicked: %v", v)
		}
	}()
	return call()
}

// Apart runs call, which calls methods of conn. Methods of an application's type may wait for
// each other, so with such a type call gets a goroutine of its own.
func Apart(conn net.Conn, call func()) {
	if System(conn) {
		call()
	} else {
		go call()
	}
}

// Write calls conn.Write, and corrects results that break the rules of io.Writer. If conn.Write
// panics, Write counts one byte as written, because some may have been.
func Write(conn net.Conn, p []byte) (n int, err error) {
	n = min(1, len(p)) // if it panics
	err = Guard(func() error { n, err = conn.Write(p); return err })
	n = min(max(n, 0), len(p))
	if n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// WritePieces writes p a piece at a time. It adds the size of each piece to wrote, and between
// two pieces it calls progress with the number of bytes of p written so far.
func WritePieces(conn net.Conn, p []byte, wrote *atomic.Uint64, progress func(n int)) (n int, err error) {
	for piece := PieceOf(conn); n < len(p) && err == nil; {
		if n > 0 {
			progress(n)
		}
		m := 0
		m, err = Write(conn, p[n:min(n+piece, len(p))])
		n += m
		wrote.Add(uint64(m))
	}
	return n, err
}

// Ended reports whether the socket under conn has been closed on this side. It changes nothing
// and does not block. It can tell only for the system's own connections.
func Ended(conn net.Conn) bool {
	raw := rawConn(Under(conn))
	return raw != nil && raw.Control(func(uintptr) {}) != nil
}

// Close closes conn at once. Under TLS it closes the socket first, because tls.Conn.Close
// waits up to 5 s to send its last alert.
func Close(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		_ = Guard(func() error { return secure.NetConn().Close() })
	}
	_ = Guard(conn.Close)
}
