package transport

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// A close is orderly if the peer reads our close frame, and TLS's close_notify. The kernel
// destroys both if it closes a socket with bytes that nobody has read. So a Conn shuts its
// side down, reads what comes and drops it, and closes when the peer has (RFC 6455 section
// 7.1.1). No goroutine exists for that: a library that is inside Read drops what comes; if
// its handler has returned, the goroutine that ran the handler does; else nobody, and the
// timer closes.

// life is how far a Conn is from its end.
//
//	alive     -> ending      the library or a pool closes it
//	ending    -> lingering   what was due is out, and our side is shut
//	any       -> ended       the peer has closed, a bound was reached, or Kill
type life uint8

const (
	alive life = iota
	ending
	lingering
	ended
)

// closeFrame is who has sent the close frame. The first one is the only one.
type closeFrame uint8

const (
	unsaid closeFrame = iota
	byLibrary
	byPool
)

// A Status is the code and the reason of a close frame (RFC 6455 section 7.4). The zero
// Status is no frame, for a peer that would not take it, or has one and does not answer.
type Status struct {
	Code   int
	Reason string
}

// The statuses that a pool sends on its own account.
var (
	StatusNormal    = Status{Code: 1000}
	StatusGoingAway = Status{Code: 1001}
	StatusReplaced  = Status{Code: 4500} // a newer connection took the id: do not come back
)

func (s Status) payload() []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(s.Code)), s.Reason...)
}

const (
	// closeGrace is how long a close frame may wait for room in the socket, and the
	// socket for its peer to close it.
	closeGrace = time.Second
	// dropMost is how many bytes are dropped at most while a socket lingers.
	dropMost = 8 << 20
)

// Close is the library's. It says goodbye if nobody has, with status 1000 or, after GoAway,
// 1001, and returns at once; the socket is closed when the peer has closed it, at most a
// second later.
func (c *Conn) Close() error {
	c.mu.Lock()
	status := StatusNormal
	if c.away {
		status = StatusGoingAway
	}
	c.mu.Unlock()
	c.close(status, func() {})
	return nil
}

// GoAway has the peer told to come back, if conn is under Upgrade and its handler closes it
// without a close frame: a pool that is shut down has refused it.
func GoAway(conn net.Conn) {
	if c := unwrap(conn); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.away = true
	}
}

// Ending reports whether the close has begun.
func (c *Conn) Ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life != alive
}

// await waits for the close to begin, if a pool is about to: a handler that returns sooner
// would leave nobody to read what still comes, and Drain nothing to do.
func (c *Conn) await() {
	late := time.NewTimer(again)
	defer late.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.life == alive {
		if !c.sleepLocked(late.C) {
			return
		}
	}
}

// close begins the close, with status if no close frame was sent. It never blocks. after
// is called once the socket is closed.
func (c *Conn) close(s Status, after func()) {
	c.mu.Lock()
	if c.life == ended {
		c.mu.Unlock()
		after()
		return
	}
	if c.end == nil {
		c.end = new(end)
	}
	c.end.after = append(c.end.after, after)
	if c.life != alive {
		c.mu.Unlock()
		return
	}
	if c.err != nil || s.Code == 0 && c.said == unsaid {
		c.mu.Unlock()
		c.kill()
		return
	}
	c.life = ending
	c.done = c.done || s.Code == 0 && c.said == byPool // who has not answered is not waited for again
	if c.said == unsaid && c.speaks == frames {
		c.sendLocked(frame.Append(nil, frame.Close, s.payload(), false), byPool)
	}
	c.end.timer = time.AfterFunc(closeGrace, c.kill)
	oldest := c.joinLocked()
	c.wakeLocked()
	c.mu.Unlock()
	if oldest != nil {
		oldest.kill()
	}
	if c.foreign() {
		go c.limitReads()
	} else {
		c.limitReads()
	}
	c.mu.Lock()
	c.startLocked()
}

// foreign reports whether the socket is of a type of the application's, whose Close may wait
// for a write, and its deadlines as well.
func (c *Conn) foreign() bool { return rawConn(under(c.Conn)) == nil }

// limitReads bounds every Read from now on.
func (c *Conn) limitReads() {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	_ = guard(func() error { return c.Conn.SetReadDeadline(time.Now().Add(closeGrace)) })
}

// shut shuts our side, after all that was due. Only the system's own sockets do that
// without blocking: TLS waits up to 5 s (tls.Conn.CloseWrite). A connection that cannot,
// such as one of a limited listener, lingers with its side open if its peer has been told.
func (c *Conn) shut() {
	half, halves := c.Conn.(interface{ CloseWrite() error })
	switch {
	case halves && rawConn(c.Conn) == nil:
		go c.linger(half.CloseWrite)
	case halves:
		c.linger(half.CloseWrite)
	case c.said != unsaid:
		c.linger(func() error { return nil })
	default:
		c.kill()
	}
}

func (c *Conn) linger(closeWrite func() error) {
	err := guard(closeWrite)
	c.mu.Lock()
	if c.life == ending {
		c.life = lingering
	}
	over := c.done || err != nil
	c.mu.Unlock()
	if over {
		c.kill()
	}
}

// drops reports whether what is read is dropped. After a close frame of the library's own
// it waits for the peer's, so that is not.
func (c *Conn) drops() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life != alive && c.said != byLibrary
}

// quiet notes that the peer sends nothing any more. With our own close frame out, there
// is nothing to wait for (RFC 6455 section 7.1.1). But what came with the peer's is for
// the library, which answers it after a close frame of the pool's as well.
func (c *Conn) quiet() {
	c.mu.Lock()
	c.done = true
	over, both := c.life == lingering, c.said == byLibrary
	c.mu.Unlock()
	switch {
	case over:
		c.kill()
	case both:
		c.close(StatusNormal, func() {})
	}
}

// answered notes that the library has answered the peer's close frame, if that has come. A
// library may leave it at that, and its handler return.
func (c *Conn) answered() {
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	if done {
		c.close(StatusNormal, func() {})
	}
}

// lingers notes that n bytes were dropped, and reports whether more may come.
func (c *Conn) lingers(n int) bool {
	c.mu.Lock()
	over, more := false, c.life != ended && !c.done
	if c.life == lingering { // before that, our close frame is still on its way
		c.end.dropped += n
		over = c.end.dropped > dropMost
	}
	c.mu.Unlock()
	if over {
		c.kill()
	}
	return more && !over
}

// kill closes the socket at once, whatever waits for it, and never blocks.
func (c *Conn) kill() {
	c.mu.Lock()
	if c.life == ended {
		c.mu.Unlock()
		return
	}
	c.life = ended
	var after []func()
	if e := c.end; e != nil {
		after, e.after = e.after, nil
		if e.timer != nil {
			e.timer.Stop()
			c.leaveLocked()
		}
	}
	c.wakeLocked()
	c.mu.Unlock()
	if c.foreign() {
		go c.applyDeadline()
		go c.closeSocket(after)
	} else {
		c.closeSocket(after)
	}
}

func (c *Conn) closeSocket(after []func()) {
	closeNow(c.Conn)
	for _, f := range after {
		f()
	}
}

// closeNow closes what is under TLS first: tls.Conn.Close waits up to 5 s for its last
// alert.
func closeNow(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		_ = guard(secure.NetConn().Close)
	}
	_ = guard(conn.Close)
}
