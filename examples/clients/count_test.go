package clients

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
)

// A listener counts the frames on its connections, as they are on the wire.
type listener struct {
	net.Listener
	mu    sync.Mutex
	conns map[string]*counted // by the address of the peer
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &counted{Conn: conn}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn.RemoteAddr().String()] = c
	return c, nil
}

// of returns the connection from an address.
func (l *listener) of(addr string) *counted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conns[addr]
}

type counted struct {
	net.Conn
	in, out counter
	closed  atomic.Bool // by the server
}

func (c *counted) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.feed(p[:n])
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.feed(p[:n])
	return n, err
}

// A counter counts the frames of one direction, behind the handshake.
type counter struct {
	mu     sync.Mutex
	frames [16]int // by opcode
	framed bool    // the handshake is over
	head   []byte  // the handshake, or a frame's header, as far as it has come
	skip   uint64  // of a payload
}

// count returns how many frames of a kind there were.
func (c *counter) count(op byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames[op]
}

func (c *counter) feed(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		n := 1
		switch {
		case c.skip > 0:
			n = int(min(c.skip, uint64(len(p))))
			c.skip -= uint64(n)
		case c.framed:
			c.head = append(c.head, p[0])
			if size, ok := payloadSize(c.head); ok {
				c.frames[c.head[0]&0xf]++
				c.head, c.skip = c.head[:0], size
			}
		default:
			c.head = append(c.head, p[0])
			if c.framed = bytes.HasSuffix(c.head, []byte("\r\n\r\n")); c.framed {
				c.head = c.head[:0]
			}
		}
		p = p[n:]
	}
}

// payloadSize returns what a frame's header says, if it is all there (RFC 6455
// section 5.2).
func payloadSize(head []byte) (size uint64, ok bool) {
	if len(head) < 2 {
		return 0, false
	}
	length, long, mask := head[1]&0x7f, 0, 0
	switch length {
	case 126:
		long = 2
	case 127:
		long = 8
	}
	if head[1]&0x80 != 0 {
		mask = 4
	}
	if len(head) < 2+long+mask {
		return 0, false
	}
	if size = uint64(length); long > 0 {
		size = binary.BigEndian.Uint64(append(make([]byte, 8-long), head[2:2+long]...))
	}
	return size, true
}
