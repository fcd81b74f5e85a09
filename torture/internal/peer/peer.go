// Package peer is the other end of a connection: either a raw one, or a WebSocket that is
// strict about what the server sends and can be made to send anything.
package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/nulijiabei/gcpool/torture/ledger"
)

// ErrProtocol is returned for anything that a server must not send.
var ErrProtocol = errors.New("peer: breach of protocol")

// A Peer reads messages of package ledger from a connection.
type Peer struct {
	Conn   net.Conn
	Status int          // of the first close frame that arrived; 0 until then
	Pings  atomic.Int64 // answered pings
	Mute   bool         // answers no pings

	ws   bool
	in   *bufio.Reader
	buf  []byte
	part []byte // the part that arrived of an incomplete message
	deaf bool   // something that was sent did not arrive
}

// Raw returns the peer of a raw connection.
func Raw(conn net.Conn) *Peer { return &Peer{Conn: conn, in: bufio.NewReaderSize(conn, 4<<10)} }

// Dial opens a WebSocket on conn. path is the part of the URL after the host, including the
// query. Each header replaces the one of the same name, or removes it if empty.
func Dial(conn net.Conn, path string, headers ...string) (*Peer, error) {
	lines := map[string]string{"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13", "Origin": "http://localhost"}
	for i := 0; i+1 < len(headers); i += 2 {
		lines[headers[i]] = headers[i+1]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", path)
	for name, value := range lines {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return nil, err
	}
	p := &Peer{Conn: conn, ws: true, in: bufio.NewReaderSize(conn, 4<<10)}
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("peer: the server answers %s", resp.Status)
	}
	return p, nil
}

// Next returns the next message, which is valid until the next call. It answers pings and the
// close frame. Its error is io.EOF at a proper end.
func (p *Peer) Next() ([]byte, error) {
	for {
		op, payload, err := p.Frame()
		switch {
		case err != nil:
			return nil, err
		case op == 0x8:
			if p.Status != 0 { // only the first counts
				continue
			}
			p.Status = 1005
			if len(payload) >= 2 {
				p.Status = int(binary.BigEndian.Uint16(payload))
			}
			p.Send(0x88, payload)
		case op == 0x9 && !p.Mute:
			p.Pings.Add(1)
			p.Send(0x8a, payload)
		case op == 0x1 || op == 0x2:
			n := len(payload) - 1
			if n < 0 || payload[n] != '\n' {
				return nil, fmt.Errorf("%w: no newline at the end of %.40q", ErrProtocol, payload)
			}
			if p.Status != 0 {
				return nil, fmt.Errorf("%w: a message after the close frame", ErrProtocol)
			}
			return payload[:n], nil
		}
	}
}

// Frame returns the next frame, which is valid until the next call. On a raw connection each
// message counts as a frame.
func (p *Peer) Frame() (op byte, payload []byte, err error) {
	if !p.ws {
		head, err := p.in.Peek(8)
		if err != nil {
			p.part = append(p.part, head...)
			return 0, nil, err
		}
		n, err := ledger.Length(head)
		if err != nil {
			return 0, nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		payload, err = p.read(n + 1)
		return 0x1, payload, err
	}
	var head [8]byte
	if _, err := io.ReadFull(p.in, head[:2]); err != nil {
		return 0, nil, err
	}
	op = head[0] & 0xf
	if head[0]&0xf0 != 0x80 || op > 0x2 && op < 0x8 || op == 0 || op > 0xa || head[1] > 127 {
		return 0, nil, fmt.Errorf("%w: a frame that begins with %x", ErrProtocol, head[:2])
	}
	n := uint64(head[1])
	if n > 125 {
		more := head[:2]
		if n == 127 {
			more = head[:8]
		}
		if _, err := io.ReadFull(p.in, more); err != nil {
			return 0, nil, err
		}
		n = 0
		for _, b := range more {
			n = n<<8 | uint64(b)
		}
	}
	if n > ledger.MaxSize {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", ErrProtocol, n)
	}
	payload, err = p.read(int(n))
	return op, payload, err
}

// read reads n bytes. If fewer arrive, it keeps them in part.
func (p *Peer) read(n int) ([]byte, error) {
	if cap(p.buf) < n {
		p.buf = make([]byte, n)
	}
	m, err := io.ReadFull(p.in, p.buf[:n])
	if err != nil {
		p.part = append(p.part, p.buf[:m]...)
	}
	return p.buf[:n], err
}

// Send sends one frame, masked with zeros. first is the frame's first byte.
func (p *Peer) Send(first byte, payload []byte) error {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(append(b, 0, 0, 0, 0), payload...)
	_, err := p.Conn.Write(b)
	if err != nil {
		p.deaf = true
	}
	return err
}

// Run passes everything that arrives to c, up to the end, and closes
// the connection. It returns ErrProtocol, or else how the stream
// ended: nil if it came to its end and no written byte is missing.
func (p *Peer) Run(c *ledger.Conn) error {
	defer p.Conn.Close()
	for {
		data, err := p.Next()
		if err == nil {
			c.Receive(data)
			continue
		}
		return p.end(c, err)
	}
}

// Read passes the next n messages to c.
func (p *Peer) Read(c *ledger.Conn, n int) error {
	for range n {
		data, err := p.Next()
		if err != nil {
			return errors.Join(err, p.end(c, err))
		}
		c.Receive(data)
	}
	return nil
}

func (p *Peer) end(c *ledger.Conn, err error) error {
	c.Torn(p.part)
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	c.End(ended && !p.deaf) // a write may consume the error of a reset, so that reads do not report it
	if ended {
		return nil
	}
	return err
}
