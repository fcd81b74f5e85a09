package upgrade

import (
	"bytes"
	"os"
	"time"

	"github.com/nulijiabei/gcpool/internal/socket"
)

// controlTime is how long a control frame waits for room in the socket while the peer's
// system acknowledges nothing.
const controlTime = 10 * time.Second

// acquire waits for w's turn. The library waits no longer than its write deadline.
func (c *Conn) acquire(w writer) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns.waiting[w-1]++
	for {
		var until time.Time
		if w == library {
			until = c.deadline
		}
		err = c.closing.refusal(w, &c.speech)
		if err == nil && !until.IsZero() && !time.Now().Before(until) {
			err = os.ErrDeadlineExceeded // a deadline on the socket would break TLS
		}
		if err != nil || c.turns.take(w, c.speech.betweenMessages()) {
			break
		}
		var late <-chan time.Time
		if !until.IsZero() {
			late = time.After(time.Until(until))
		}
		c.change.Wait(&c.mu, late)
	}
	c.turns.waiting[w-1]--
	if err != nil {
		c.change.Wake() // the other writer may have let w go first
	}
	return err
}

// release ends from's turn. If err is not nil, a frame was cut and cannot be completed. Control
// frames that are due are written first; if the socket has no room for them, a goroutine waits
// for room, and keeps the turn. from is nobody if the caller does not have the turn; if another
// writer has it, that writer's release does the rest.
func (c *Conn) release(from writer, err error) {
	if err != nil {
		gone := socket.PeerLeft(c.Conn, err)
		c.update(func(now *closing) { now.fails(err, gone) })
	}
	c.mu.Lock()
	if from == nobody && c.turns.turn != nobody {
		c.mu.Unlock()
		return
	}
	c.turns.turn = controls
	leave := c.speech.phase == frames && c.closing.cut == nil // otherwise no control frame can leave
	for leave && len(c.turns.due) > 0 && !c.speech.parser.Cut() {
		due := bytes.Join(c.turns.due, nil)
		c.turns.due = nil
		c.mu.Unlock()
		n := socket.WriteNow(c.Conn, due)
		if n < len(due) {
			go c.waitForRoom(due[n:], controlTime)
			return
		}
		c.mu.Lock()
	}
	out := c.closing.life == ending && !(leave && len(c.turns.due) > 0)
	c.turns.turn = nobody // after a close has sent everything, refusal refuses every writer
	c.change.Wake()
	c.mu.Unlock()
	if out {
		c.update(func(now *closing) { now.leaves(c.speech.phase == frames) })
	}
}

// waitForRoom writes the rest of the control frames. If the peer's system acknowledges nothing
// for patience, it kills the connection: such a peer sends pings and does not read.
func (c *Conn) waitForRoom(due []byte, patience time.Duration) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, err := socket.Write(c.Conn, due)
		c.release(controls, err)
	}()
	for moved := true; moved; {
		before := socket.Acknowledged(c.Conn)
		select {
		case <-over:
			return
		case <-time.After(patience):
		}
		moved = socket.Acknowledged(c.Conn) != before
	}
	c.Kill() // ends the write too
}

// control sends a control frame as soon as the current frame has ended. It never waits.
func (c *Conn) control(f []byte, by writer) (err error) {
	c.update(func(now *closing) { // say notes a close frame
		var send bool
		if send, err = now.say(f, by); send {
			c.turns.put(f, by)
		}
	})
	c.release(nobody, nil)
	return err
}
