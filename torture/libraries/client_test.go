package libraries

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A client is the other end of a WebSocket. Its wire belongs to one goroutine; send may be
// called from any.
type client struct {
	net.Conn
	wire
	t *testing.T

	sending sync.Mutex
	left    bool        // has sent a close frame, and so sends no more; guarded by sending
	deaf    bool        // something that was sent did not arrive; guarded by sending
	pongs   chan []byte // pongs to send: the goroutine that reads must not wait for room to send
}

// dial opens a WebSocket. The frames in early leave in one write with the handshake.
func dial(t *testing.T, addr, id, offer string, early []byte) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	request := fmt.Sprintf("GET /?id=%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://%s\r\n", id, addr, addr)
	if offer != "" {
		request += "Sec-WebSocket-Extensions: " + offer + "\r\n"
	}
	if _, err := conn.Write(append([]byte(request+"\r\n"), early...)); err != nil {
		t.Fatal(err)
	}
	c := &client{Conn: conn, wire: wire{in: bufio.NewReaderSize(conn, 64<<10)}, t: t, pongs: make(chan []byte, 64)}
	conn.SetReadDeadline(time.Now().Add(2 * patience))
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the handshake's answer is %v", resp)
	}
	agreed := resp.Header.Get("Sec-WebSocket-Extensions")
	if c.deflate = strings.HasPrefix(agreed, "permessage-deflate"); c.deflate != (offer != "") {
		t.Fatalf("offered %q, agreed on %q", offer, agreed)
	}
	c.takeover = c.deflate && !strings.Contains(agreed, "server_no_context_takeover")
	c.answer()
	return c
}

// answer sends pongs until the test ends.
func (c *client) answer() {
	var answers sync.WaitGroup
	over := make(chan struct{}) // instead of closing c.pongs, to which a reader may still send
	answers.Go(func() {
		for {
			select {
			case p := <-c.pongs:
				c.send(final|opPong, p)
			case <-over:
				return
			}
		}
	})
	c.t.Cleanup(func() {
		c.Close()
		close(over)
		answers.Wait()
	})
}

// send sends one frame; first is its first byte.
func (c *client) send(first byte, payload []byte) error {
	b := frameOf(first, payload)
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.left { // RFC 6455 section 5.5.1; the server would answer with a reset
		return net.ErrClosed
	}
	c.left = first&0xf == opClose
	_, err := c.Write(b)
	c.deaf = c.deaf || err != nil
	return err
}

// frameOf returns a masked frame.
func frameOf(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := binary.BigEndian.AppendUint32(nil, rand.Uint32())
	b = append(b, mask...)
	for i, x := range payload {
		b = append(b, x^mask[i%4])
	}
	return b
}

// closing is a client's close frame.
func closing(code int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(code)) }

// receive returns the next message or close frame. It answers pings and drops pongs.
func (c *client) receive() (event, error) {
	for {
		e, err := c.next()
		switch {
		case err == nil && e.op == opPing:
			c.reply(e)
		case err != nil || e.op != opPong:
			return e, err
		}
	}
}

// reply queues the answer to a ping, unless the queue is full: only the newest ping needs an
// answer (RFC 6455 section 5.5.3). The goroutine that reads must not wait for room to send,
// because a library may read nothing while it waits for the client to read.
func (c *client) reply(ping event) {
	select {
	case c.pongs <- ping.payload:
	default:
	}
}

// expect returns the next message, which must be want.
func (c *client) expect(want string) {
	c.t.Helper()
	if e, err := c.receive(); err != nil || e.op == opClose || string(e.payload) != want {
		c.t.Fatalf("received %x %.40q, %v instead of %.40q", e.op, e.payload, err, want)
	}
}

// readClose reads up to the close frame. It returns the frame and the number of messages before it.
func (c *client) readClose() (e event, messages int, err error) {
	for {
		if e, err = c.receive(); err != nil || e.op == opClose {
			return e, messages, err
		}
		messages++
	}
}

// leave reads up to the close frame, answers it, and reads on to the end of the stream.
// Anything after the close frame is an error, including a reset.
func (c *client) leave() (e event, messages int, err error) {
	if e, messages, err = c.readClose(); err != nil {
		return e, messages, fmt.Errorf("before the close frame: %w", err)
	}
	c.send(final|opClose, e.payload) // the server may have gone
	return e, messages, c.end()
}

// end checks that the stream ends here.
func (c *client) end() error {
	if _, err := c.next(); err != io.EOF {
		return fmt.Errorf("after the close frame: %w", err)
	}
	return nil
}
