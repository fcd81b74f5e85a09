package client

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/peers"
)

// handshakeKey may be the same for every connection: nothing caches them here.
const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ=="

var handshakeAccept = func() string {
	sum := sha1.Sum([]byte(handshakeKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}()

// dial connects a user, with the opening handshake by hand (RFC 6455 section 4).
func dial(addr string, user int, stalls bool) (net.Conn, error) {
	var d net.Dialer
	if stalls {
		d.Control = func(_, _ string, raw syscall.RawConn) error { return shrink(raw) }
	}
	nc, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := handshake(nc, addr, user); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("user %d: handshake: %w", user, err)
	}
	return nc, nil
}

func handshake(nc net.Conn, addr string, user int) error {
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := fmt.Fprintf(nc, "GET /?id=%s&format=protobuf HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\n"+
		"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		peers.ID(user), addr, addr, handshakeKey)
	if err != nil {
		return err
	}
	// Reading byte by byte up to the end of the header would be slow. Nothing follows the
	// header before the benchmark pushes.
	var answer []byte
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) {
		b := make([]byte, 1024)
		n, err := nc.Read(b)
		if err != nil {
			return err
		}
		answer = append(answer, b[:n]...)
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101 ")) || !bytes.Contains(answer, []byte(handshakeAccept)) {
		return fmt.Errorf("answered with %q", answer)
	}
	return nc.SetDeadline(time.Time{})
}
