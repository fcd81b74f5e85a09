package libraries

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
	"github.com/nulijiabei/gcpool"
)

// gobwasSocket writes a header and its payload in two writes. gobwas has no lock of its own, so
// gobwasSocket holds one for each frame.
type gobwasSocket struct {
	net.Conn
	added   net.Conn
	deflate bool
	frame   sync.Mutex
}

func gobwasHandler(deflate bool) func(h *host) http.Handler {
	return func(h *host) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ext := wsflate.Extension{Parameters: wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}}
			var upgrader ws.HTTPUpgrader
			if deflate {
				upgrader.Negotiate = ext.Negotiate
			}
			conn, _, _, err := upgrader.Upgrade(r, w)
			if err != nil {
				h.t.Error(err)
				return
			}
			h.serve(h.join(&gobwasSocket{Conn: conn, added: gcpool.Conn(r), deflate: deflate}, r))
		})
	}
}

// acceptGobwas serves a connection that it has accepted itself.
func acceptGobwas(h *host, conn net.Conn) {
	r := &http.Request{}
	upgrader := ws.Upgrader{OnRequest: func(uri []byte) (err error) {
		r.URL, err = url.Parse(string(uri))
		return err
	}}
	if _, err := upgrader.Upgrade(conn); err != nil {
		conn.Close()
		h.t.Error(err)
		return
	}
	conn = gcpool.NewConn(conn)
	h.serve(h.join(&gobwasSocket{Conn: conn, added: conn}, r))
	io.Copy(io.Discard, conn)
}

func (s *gobwasSocket) conn() net.Conn { return s.added }
func (s *gobwasSocket) close() error   { return s.Close() }

func (s *gobwasSocket) read(received func(p []byte) bool) {
	control := wsutil.ControlFrameHandler(replies{s}, ws.StateServerSide)
	r := wsutil.Reader{Source: s.Conn, State: ws.StateServerSide, OnIntermediate: control}
	for {
		header, err := r.NextFrame()
		if err != nil {
			return
		}
		if header.OpCode.IsControl() {
			if control(header, &r) != nil {
				return
			}
			continue
		}
		if p, err := io.ReadAll(&r); err != nil || !received(p) {
			return
		}
	}
}

// replies takes whole control frames from the read loop.
type replies struct{ s *gobwasSocket }

func (r replies) Write(p []byte) (int, error) {
	r.s.frame.Lock()
	defer r.s.frame.Unlock()
	return r.s.Write(p)
}

func (s *gobwasSocket) send(h ws.Header, p []byte) error {
	s.frame.Lock()
	defer s.frame.Unlock()
	h.Length = int64(len(p))
	if err := ws.WriteHeader(s.Conn, h); err != nil {
		return err
	}
	_, err := s.Write(p)
	return err
}

func (s *gobwasSocket) write(p []byte, parts int) (err error) {
	h := ws.Header{OpCode: ws.OpBinary}
	if s.deflate && len(p) > 100 {
		if p, err = wsflate.DefaultHelper.Compress(p); err != nil {
			return err
		}
		h.Rsv = ws.Rsv(true, false, false)
	}
	for i, part := range split(p, parts) {
		h.Fin = i == parts-1
		if err := s.send(h, part); err != nil {
			return err
		}
		h = ws.Header{OpCode: ws.OpContinuation}
	}
	return nil
}

func (s *gobwasSocket) begin(p []byte) (func(tail []byte) error, error) {
	err := s.send(ws.Header{OpCode: ws.OpBinary}, p)
	return func(tail []byte) error { return s.send(ws.Header{OpCode: ws.OpContinuation, Fin: true}, tail) }, err
}

// more continues a message that begin has begun.
func (s *gobwasSocket) more(p []byte) error { return s.send(ws.Header{OpCode: ws.OpContinuation}, p) }

func (s *gobwasSocket) ping(p []byte) error {
	return s.send(ws.Header{OpCode: ws.OpPing, Fin: true}, p)
}
