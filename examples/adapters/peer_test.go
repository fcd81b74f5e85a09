package adapters

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// libraries are the adapters, each with the library's own client. That dials
// and returns a function that receives one message.
var libraries = []struct {
	name   string
	serve  func(*Server) http.Handler
	client func(t *testing.T, url string, header http.Header) (receive func() ([]byte, error))
}{
	{"gorilla", (*Server).Gorilla, gorillaClient},
	{"coder", (*Server).Coder, coderClient},
	{"gws", (*Server).Gws, gwsClient},
	{"gobwas", (*Server).Gobwas, gobwasClient},
}

const patience = 20 * time.Second // of a test for what should come at once

// A bench is one pool behind one library's server.
type bench struct {
	t        *testing.T
	pool     *gcpool.Pool
	conns    *gcpool.ConnPool
	stream   *gcpool.StreamPool
	url      string
	received chan string             // "id: message"
	failed   chan gcpool.Undelivered // what was not delivered
}

func newBench(t *testing.T, serve func(*Server) http.Handler, opts ...gcpool.Option) *bench {
	t.Helper()
	b := &bench{t: t, received: make(chan string, 16), failed: make(chan gcpool.Undelivered, 1<<12)}
	b.pool = gcpool.NewPool(gcpool.WithUndelivered(func(u gcpool.Undelivered) { b.failed <- u }))
	if err := b.pool.Register("users", opts...); err != nil {
		t.Fatal(err)
	}
	b.pool.Start()
	b.conns, b.stream = b.pool.GetConn("users"), b.pool.GetStream("users")
	web := httptest.NewServer(serve(&Server{
		Conns:    b.conns,
		UserOf:   cookieUser,
		Received: func(id string, message []byte) { b.received <- fmt.Sprintf("%s: %.20s", id, message) },
	}))
	b.url = web.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		web.Close()
		b.pool.Shutdown(ctx) // of those that do not answer only some tests want to know
	})
	return b
}

// cookieUser stands for the lookup of a session.
func cookieUser(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	id, _ := strings.CutPrefix(cookie.Value, "session-of-")
	return id
}

// header returns what id's browser sends with a handshake.
func (b *bench) header(id string) http.Header {
	return http.Header{"Cookie": {"session=session-of-" + id}, "Origin": {b.url}}
}

// connect returns a peer that is id's connection in the pool.
func (b *bench) connect(id string) *peer {
	b.t.Helper()
	old := b.present(id)
	p, status := dial(b.t, b.url, b.header(id))
	if status != http.StatusSwitchingProtocols {
		b.t.Fatalf("handshake answered with %d", status)
	}
	b.await("the connection in the pool", func() bool { now := b.present(id); return now != nil && now != old })
	return p
}

// present returns id's connection, nil if there is none.
func (b *bench) present(id string) (conn net.Conn) {
	b.conns.Get(id, func(c net.Conn) error { conn = c; return nil })
	return conn
}

// await polls until a state is reached that nothing else tells of.
func (b *bench) await(what string, reached func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// A peer is a client that sees frames as they are on the wire.
type peer struct {
	net.Conn
	in *bufio.Reader
}

// A frame is one frame from the server; a message that came in several would
// show.
type frame struct {
	op      byte
	final   bool
	payload []byte
}

// dial asks for a WebSocket and returns the status of the answer.
func dial(t *testing.T, url string, header http.Header) (*peer, int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(3 * patience))
	r, _ := http.NewRequest("GET", url, nil)
	r.Header = header.Clone()
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
		r.Header.Set(name, value)
	}
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	p := &peer{Conn: conn, in: bufio.NewReader(conn)}
	answer, err := http.ReadResponse(p.in, r)
	if err != nil {
		t.Fatal(err)
	}
	return p, answer.StatusCode
}

// next returns the next frame.
func (p *peer) next() (f frame, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return f, err
	}
	f.op, f.final = head[0]&0xf, head[0]&0x80 != 0
	size := uint64(head[1])
	if more := map[byte]int{126: 2, 127: 8}[head[1]]; more > 0 {
		var long [8]byte
		if _, err := io.ReadFull(p.in, long[8-more:]); err != nil {
			return f, err
		}
		size = binary.BigEndian.Uint64(long[:])
	}
	if size > 16<<20 {
		return f, errors.New("that is no frame of ours")
	}
	f.payload = make([]byte, size)
	_, err = io.ReadFull(p.in, f.payload)
	return f, err
}

// send writes a frame with a mask of zeros, which leaves the payload as it is.
func (p *peer) send(op byte, payload []byte) error {
	head := []byte{0x80 | op, 0x80 | 127}
	head = binary.BigEndian.AppendUint64(head, uint64(len(payload)))
	if n := len(payload); n <= 125 {
		head = []byte{0x80 | op, 0x80 | byte(n)}
	}
	_, err := p.Write(append(append(head, 0, 0, 0, 0), payload...))
	return err
}

// closeStatus reads to the close frame, answers it and returns its status.
func (p *peer) closeStatus(t *testing.T) int {
	t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			t.Fatalf("connection ended without a close frame: %v", err)
		}
		if f.op == 8 {
			p.send(8, f.payload)
			return int(binary.BigEndian.Uint16(f.payload))
		}
	}
}
