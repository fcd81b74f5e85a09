package del

import (
	"net"
	"sync"
)

// A visit is one connection of a user, until its handler has returned. The handler does
// what the test says, when the test says it.
type visit struct {
	n    int
	id   string
	site *site
	peer *peer

	conn     net.Conn      // what the pool was given
	added    chan struct{} // closed when ConnPool.Add has returned
	tidies   chan struct{} // closed when the handler has seen its connection's end
	returned chan struct{} // closed when it has returned
	orders   chan order    // what it is to do; closed to have it return
	free     func()        // closes orders
	left     bool          // its peer has
}

// An order is a call that a handler is to make, and where its result goes.
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
// fails when the connection has ended.
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

// read reads up to the connection's end. At each message it carries out one order.
func (v *visit) read(next func() error) {
	for next() == nil {
		v.tidyUp(1)
	}
	close(v.tidies)
}

// tidyUp carries out n orders, any number if n is negative, or fewer if it is to return.
func (v *visit) tidyUp(n int) {
	for ; n != 0; n-- {
		o, ok := <-v.orders
		if !ok {
			return
		}
		o.result <- o.call()
	}
}

// del is how v's handler removes its connection.
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

// kick removes what v's id has.
func (v *visit) kick() bool {
	n, err := v.site.conns.Kick(v.id, 4999, "kicked")
	if err != nil {
		v.site.t.Errorf("Kick: %v", err)
	}
	return n == 1
}
