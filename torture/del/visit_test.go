package del

import (
	"net"
	"sync"
)

// A visit is one connection of a user, until its handler has returned. The test tells the
// handler what to do and when.
type visit struct {
	n    int
	id   string
	site *site
	peer *peer

	conn     net.Conn      // the connection added to the pool
	added    chan struct{} // closed when ConnPool.Add has returned
	tidies   chan struct{} // closed when the handler has seen the end of its connection
	returned chan struct{} // closed when the handler has returned
	orders   chan order    // calls for the handler; closed to make it return
	free     func()        // closes orders
	left     bool          // the peer has left
}

// An order is a call for a handler to make, with a channel for its result.
type order struct {
	call   func() bool
	result chan bool
}

func newVisit(s *site, id string, n int) *visit {
	v := &visit{n: n, id: id, site: s, added: make(chan struct{}), tidies: make(chan struct{}),
		returned: make(chan struct{}), orders: make(chan order)}
	v.free = sync.OnceFunc(func() { close(v.orders) })
	return v
}

// handle is a whole handler on one goroutine. next waits for the peer's next message, and
// returns an error when the connection has ended.
func (v *visit) handle(conn net.Conn, next func() error) {
	defer close(v.returned)
	v.join(conn)
	v.read(next)
	v.tidyUp(-1)
}

// join adds the connection.
func (v *visit) join(conn net.Conn) {
	v.site.on(func() {
		v.conn = conn
		if err := v.site.conns.Add(v.id, conn); err != nil {
			v.site.t.Errorf("Add: %v", err)
		}
	})
	close(v.added)
}

// read reads until the connection ends. After each message it carries out one order.
func (v *visit) read(next func() error) {
	for next() == nil {
		v.tidyUp(1)
	}
	close(v.tidies)
}

// tidyUp carries out n orders, or all of them if n is negative. It
// stops early if the handler must return.
func (v *visit) tidyUp(n int) {
	for ; n != 0; n-- {
		o, ok := <-v.orders
		if !ok {
			return
		}
		o.result <- o.call()
	}
}

// del removes the connection the way v's handler does.
func (v *visit) del() (removed bool) {
	v.site.on(func() {
		if v.site.kind.delConn {
			removed = v.site.conns.DelConn(v.id, v.conn)
		} else {
			removed = v.site.conns.Del(v.id)
		}
	})
	return removed
}

func (v *visit) delConn() bool { return v.site.conns.DelConn(v.id, v.conn) }

// kick removes the present connection of v's id.
func (v *visit) kick() bool {
	n, err := v.site.conns.Kick(v.id, 4999, "kicked")
	if err != nil {
		v.site.t.Errorf("Kick: %v", err)
	}
	return n == 1
}
