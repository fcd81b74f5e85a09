package upgrade

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// oneLock is a connection of the application's: a write has all else wait.
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

// TestCloseOfAForeignConnNeverBlocks, whatever its methods wait for; and the pool is told
// once, when it is closed.
func TestCloseOfAForeignConnNeverBlocks(t *testing.T) {
	quiet := func(c *Conn) { c.update(func(now *closing) { now.came(0, true, false) }) }
	for what, before := range map[string]func(*Conn){
		"with a close frame":       func(*Conn) {},
		"that is cut for good":     func(c *Conn) { c.release(nobody, errControl) },
		"whose peer has said so":   quiet,
		"after goodbye and answer": func(c *Conn) { NewSender(c).Goodbye(frame.StatusGoingAway); quiet(c) },
	} {
		conn, peer := pair(t)
		c := &Conn{Conn: &oneLock{Conn: conn}, speech: speech{phase: frames}}
		sent := push(c, string(frame.Append(nil, frame.Binary, make([]byte, 16<<20), false)))
		for before := uint64(0); before == 0 || c.out.wrote.Load() != before; {
			before = c.out.wrote.Load()
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
			t.Errorf("Close of one %s blocks", what)
		}
		peer.Close() // which ends the write
		if err := <-sent; err == nil {
			t.Errorf("%s: the write has no error", what)
		}
		<-told
		if len(told) > 0 {
			t.Errorf("%s: told twice", what)
		}
	}
}
