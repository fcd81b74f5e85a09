package upgrade

import (
	"bytes"
	"time"

	"github.com/nulijiabei/gcpool/internal/socket"
)

// controlTime is how long a control frame may wait for room in the socket of a peer whose
// system acknowledges nothing.
const controlTime = 10 * time.Second

// acquire waits for w's turn. The library waits no longer than its write deadline.
func (c *Conn) acquire(w writer) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns.waiting[w-1]++
	for err == nil {
		err = c.closing.refusal(w, &c.speech)
		if err != nil || c.turns.take(w, c.speech.betweenMessages()) {
			break
		}
		var until time.Time
		if w == library {
			until = c.deadline
		}
		err = c.mu.wait(until)
	}
	c.turns.waiting[w-1]--
	if err != nil {
		c.mu.wake() // whoever has let w go first
	}
	return err
}

// release ends from's turn, in which err has cut a frame. Control frames that are due leave
// first; if the socket has no room for them a goroutine waits for that, and keeps the turn.
// If from is nobody, and somebody writes, all that is left to him.
func (c *Conn) release(from writer, err error) {
	c.mu.Lock()
	if err != nil {
		c.closing.cut = err
		c.mu.wake()
	}
	if from == nobody && c.turns.turn != nobody {
		c.mu.Unlock()
		return
	}
	c.turns.turn = controls
	waits := func() bool { return len(c.turns.due) > 0 && c.speech.phase == frames && c.closing.cut == nil }
	for waits() && c.speech.betweenFrames() {
		due := bytes.Join(c.turns.due, nil)
		c.turns.due = nil
		c.mu.Unlock()
		if n := c.out.writeNow(c.Conn, due); n < len(due) {
			go c.waitForRoom(due[n:], controlTime)
			return
		}
		c.mu.Lock()
	}
	shut := c.closing.life == ending && !waits()
	if !shut { // else nobody's turn comes any more
		c.turns.turn = nobody
		c.mu.wake()
	}
	c.mu.Unlock()
	if shut {
		c.shut()
	}
}

// waitForRoom writes the rest of control frames. A peer that pings and does not read is
// closed when its system has acknowledged nothing for as long as patience.
func (c *Conn) waitForRoom(due []byte, patience time.Duration) {
	sent := make(chan error, 1)
	go func() {
		_, err := c.out.write(c.Conn, due, func(int) {})
		sent <- err
	}()
	for before := socket.Acknowledged(c.Conn); ; {
		select {
		case err := <-sent:
			c.release(controls, err)
			return
		case <-time.After(patience):
		}
		now := socket.Acknowledged(c.Conn)
		if now == before {
			c.Kill()
		}
		before = now
	}
}

// control has a control frame sent at the next end of a frame, and never waits.
func (c *Conn) control(f []byte, by writer) error {
	c.mu.Lock()
	send, err := c.closing.say(f, by)
	if send {
		c.turns.put(f, by)
	}
	c.mu.Unlock()
	if send {
		c.release(nobody, nil)
	}
	return err
}
