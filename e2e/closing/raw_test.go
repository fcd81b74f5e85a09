package closing

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBareFrames(t *testing.T) { closeAll(t, openRaw, round{few: 3}) }

// TestBareFramesUnderTLS: under TLS, an end is clean only with close_notify.
func TestBareFramesUnderTLS(t *testing.T) {
	closeAll(t, openRaw, round{few: 2, tls: true, takes: notifies})
}

func openRaw(_ *testing.T, url string, n int, sends bool) []ending {
	return openPeers(dialRaw, url, n, sends)
}

// openPeers opens n connections with dial, and returns how each has ended.
func openPeers(dial func(url string) (*rawPeer, error), url string, n int, sends bool) []ending {
	endings := make([]ending, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			p, err := dial(fmt.Sprint(url, i))
			if err != nil {
				endings[i].Why = err.Error()
				return
			}
			defer p.Close()
			if sends {
				all.Go(p.send)
			}
			endings[i] = p.read()
		})
	}
	all.Wait()
	return endings
}

// oneFrame begins the Why of a client that saw one close frame but no orderly end.
const oneFrame = "not closed"

// A rawPeer is the client's end of a WebSocket, without a library.
type rawPeer struct {
	io.ReadWriteCloser
	in       *bufio.Reader
	notified func() bool // reports whether close_notify came last; nil without TLS

	mu     sync.Mutex
	closed bool // its close frame is sent, so nothing may follow
}

// dialRaw opens a WebSocket.
func dialRaw(url string) (*rawPeer, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	p := &rawPeer{ReadWriteCloser: conn}
	if scheme == "wss" {
		secure, records := clientTLS(conn)
		p.ReadWriteCloser, p.notified = secure, records.notified
	}
	return p, p.shake(host, path)
}

// shake performs the handshake.
func (p *rawPeer) shake(host, path string) error {
	p.in = bufio.NewReader(p)
	fmt.Fprintf(p, handshake, path, host)
	resp, err := http.ReadResponse(p.in, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(resp.Status)
	}
	return err
}

const handshake = "GET /%s HTTP/1.1\r\nHost: %s\r\nOrigin: http://example.com\r\nUpgrade: websocket\r\n" +
	"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// send sends text until a close frame has been sent.
func (p *rawPeer) send() {
	text := bytes.Repeat([]byte("x"), 1000)
	for p.write(0x81, text) == nil {
	}
}

// write sends one frame, unless a close frame has been sent.
func (p *rawPeer) write(first byte, payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return net.ErrClosed
	}
	p.closed = first == 0x88
	header := []byte{first, 0x80 | byte(len(payload))}
	if len(payload) > 125 {
		header = binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(len(payload)))
	}
	_, err := p.Write(append(append(header, 0, 0, 0, 0), payload...)) // a mask of zeros
	return err
}

// read reads until the server has closed the connection. It answers the first close frame.
func (p *rawPeer) read() (e ending) {
	closings := 0
	for {
		first, payload, err := p.frame()
		switch {
		case err == io.EOF && p.notified != nil && !p.notified():
			e.Why = "no close_notify"
			return e
		case err == io.EOF && closings == 1 && e.Why == "":
			e.Clean = true
			return e
		case err != nil:
			if e.Why == "" && closings == 1 {
				e.Why = oneFrame
			}
			e.Why = fmt.Sprintf("%s, %d close frames: %v", e.Why, closings, err)
			return e
		case closings > 0 && first != 0x88:
			e.Why = fmt.Sprintf("a frame %#x after the close frame", first)
		case first == 0x88:
			closings++
			if len(payload) >= 2 {
				e.Code, e.Reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			}
			p.write(0x88, payload)
		case string(payload) == "close":
			p.write(0x88, []byte{0x03, 0xe8})
		case string(payload) == "return":
			p.write(0x81, payload)
		}
	}
}

// frame reads a frame of less than 126 bytes.
func (p *rawPeer) frame() (first byte, payload []byte, err error) {
	if first, err = p.in.ReadByte(); err != nil {
		return 0, nil, err // io.EOF here is the orderly end
	}
	n, err := p.in.ReadByte()
	if err == nil {
		payload = make([]byte, n)
		_, err = io.ReadFull(p.in, payload)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return first, payload, err
}
