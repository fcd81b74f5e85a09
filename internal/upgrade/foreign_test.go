package upgrade

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/nettest"
)

// oneLock is a connection of the application's own type; all its methods wait for a write.
type oneLock struct {
	net.Conn
	mu sync.Mutex
}

func (o *oneLock) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Conn.Write(p)
}

func (o *oneLock) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Conn.Close()
}

func (o *oneLock) SetReadDeadline(t time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Conn.SetReadDeadline(t)
}

func (o *oneLock) SetWriteDeadline(t time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Conn.SetWriteDeadline(t)
}

// lockedClose is a connection of the application's own type whose Close waits for a write.
type lockedClose struct {
	net.Conn
	mu sync.Mutex
}

func (l *lockedClose) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Conn.Write(p)
}

func (l *lockedClose) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Conn.Close()
}

// TestKillEndsAWriteThatCloseWaitsFor: Kill ends the write with a
// deadline, whatever deadlines the library sets.
func TestKillEndsAWriteThatCloseWaitsFor(t *testing.T) {
	conn, _ := nettest.TCP(t)
	c := &Conn{Conn: &lockedClose{Conn: conn}, speech: speech{phase: frames}}
	_, sent := fill(t, c)
	c.Kill()
	select {
	case err := <-sent:
		if err == nil {
			t.Error("the write returned no error")
		}
	case <-time.After(20 * time.Second):
		t.Error("the write is still stuck")
		conn.Close()
	}
}

// TestCloseOfAForeignConnNeverBlocks, whatever its methods wait for. The pool is told once that
// the connection is closed.
func TestCloseOfAForeignConnNeverBlocks(t *testing.T) {
	quiet := func(c *Conn) { c.update(func(now *closing) { now.hears(silent) }) }
	for what, before := range map[string]func(*Conn){
		"with a close frame":       func(*Conn) {},
		"that is cut for good":     func(c *Conn) { c.release(nobody, errControl) },
		"whose peer has said so":   quiet,
		"after goodbye and answer": func(c *Conn) { Sender{c}.Goodbye(frame.StatusGoingAway); quiet(c) },
	} {
		conn, peer := nettest.TCP(t)
		c := &Conn{Conn: &oneLock{Conn: conn}, speech: speech{phase: frames}}
		sent := push(c, string(frame.Append(nil, frame.Binary, make([]byte, 16<<20), false)))
		for before := uint64(0); before == 0 || c.wrote.Load() != before; {
			before = c.wrote.Load()
			time.Sleep(50 * time.Millisecond)
		}
		before(c)
		closed, told := make(chan bool), make(chan bool, 2)
		go func() {
			c.Close()
			c.End(takeover, func() { told <- true })
			c.Kill()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Errorf("Close of a connection %s blocks", what)
		}
		peer.Close() // ends the write
		if err := <-sent; err == nil {
			t.Errorf("%s: the write returned no error", what)
		}
		<-told
		if len(told) > 0 {
			t.Errorf("%s: told twice", what)
		}
	}
}

// meanwhile is a connection that calls do during its first SetReadDeadline.
type meanwhile struct {
	net.Conn
	do   func()
	last time.Time
}

func (m *meanwhile) SetReadDeadline(t time.Time) error {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	m.last = t
	return nil
}

// TestReadDeadlineThatMeetsACloseIsBounded: when a close begins during SetReadDeadline, reads
// must still end within closeGrace.
func TestReadDeadlineThatMeetsACloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := pipe()
		go io.Copy(io.Discard, peer)
		conn := &meanwhile{Conn: c.Conn}
		conn.do = func() { c.Close(); synctest.Wait() }
		c.Conn = conn
		c.SetReadDeadline(time.Now().Add(time.Hour))
		if left := time.Until(conn.last); left > closeGrace {
			t.Errorf("reads may last another %v", left)
		}
		c.Kill()
		peer.Close()
	})
}
