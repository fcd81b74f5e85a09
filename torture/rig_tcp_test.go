package torture

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"github.com/nulijiabei/gcpool/torture/internal/proxy"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// each runs a test for each kind, in real time.
func each(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.String(), func(t *testing.T) { test(t, k) })
	}
}

// newTCP returns a rig on loopback. Raw connections have a listener of their own.
func newTCP(t *testing.T, opts ...gcpool.Option) *rig {
	t.Helper()
	listen(t).Close() // makes the runtime open its own descriptors, which come with the first socket
	r := &rig{t: t, before: ledger.Measure(false)}
	l := listen(t)
	r.addr = l.Addr().String()
	r.dial = func() (net.Conn, error) { return net.Dial("tcp", r.addr) }
	r.pair = func() (s, c net.Conn) {
		l := listen(t)
		defer l.Close()
		return accept(t, l, l.Addr().String())
	}
	r.open(l, opts)
	r.pool.Start()
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// accept dials addr and returns both ends of the connection that l accepts.
func accept(t *testing.T, l net.Listener, addr string) (s, c net.Conn) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err == nil {
		s, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// proxied connects id through its own proxy.
func (r *rig) proxied(id string, k kind) (*user, *proxy.Proxy) {
	r.t.Helper()
	target := r.addr
	var l net.Listener
	if k == raw {
		l = listen(r.t)
		defer l.Close()
		target = l.Addr().String()
	}
	p, err := proxy.New(target)
	if err != nil {
		r.t.Fatal(err)
	}
	finish := r.finish
	r.finish = func() {
		p.Close()
		finish()
	}
	dial, pair := r.dial, r.pair
	defer func() { r.dial, r.pair = dial, pair }()
	r.dial = func() (net.Conn, error) { return net.Dial("tcp", p.Addr()) }
	r.pair = func() (s, c net.Conn) {
		s, c = accept(r.t, l, p.Addr())
		s.(*net.TCPConn).SetWriteBuffer(16 << 10)
		return s, c
	}
	return r.connect(id, k), p
}

// bare connects id without the ledger, which would make the connections wait for each
// other. Its reads fail after a while.
func (r *rig) bare(id string, k kind) (*user, error) {
	u := &user{id: id, kind: k}
	if k == raw {
		s, c := r.pair()
		u.Peer = peer.Raw(c)
		if err := r.conns.Add(id, s); err != nil {
			return nil, err
		}
	} else {
		c, err := r.dial()
		if err != nil {
			return nil, err
		}
		if u.Peer, err = peer.Dial(c, fmt.Sprintf("/%v?id=%s&n=bare", k, id)); err != nil {
			return nil, err
		}
	}
	return u, u.Conn.SetReadDeadline(time.Now().Add(time.Minute))
}
