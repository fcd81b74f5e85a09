package gcpool

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nulijiabei/gcpool/internal/delivery"
)

// An Option sets one thing about a pool; the last one wins, Register's over NewPool's.
type Option func(*config)

type config struct{ delivery.Config }

// Overflow says what gives way when the outbox of an id is full and its peer has
// acknowledged nothing for a second, however long [WithWriteTimeout] is. Add waits for a
// peer that has. Others are ErrInvalid.
type Overflow int

const (
	// Disconnect closes the connection; all that waits for it is reported with
	// ErrSlow, or goes to the mailbox.
	Disconnect = Overflow(delivery.Disconnect)
	// DropOldest reports the messages that have waited longest with ErrSlow, as many
	// as the new one needs room; it alone where what is being written leaves none.
	DropOldest = Overflow(delivery.DropOldest)
	// DropNewest reports the new message with ErrSlow.
	DropNewest = Overflow(delivery.DropNewest)
)

// WithBuffer sets how many messages may be added before Start, and how many reports may
// wait for a slow hook, before Add waits. A Broadcast before Start counts once, and what is
// reported before Start makes no room. It must be positive and at most 1<<24. The default
// is 1000.
func WithBuffer(messages int) Option { return func(c *config) { c.Buffer = messages } }

// WithOutbox sets how many bytes of payload may wait for one id. Beside them it
// takes a few bytes for each message, room that is kept for more, and no more than
// about as much again, or 16 KiB. It must be positive; the default is 1 MiB.
//
// What the network has not taken waits in the outbox, where it is bounded and follows
// the user to his next connection, and not in the system's send buffer: on Linux and
// macOS the pool sets TCP_NOTSENT_LOWAT to 128 KiB on the TCP sockets that it can reach,
// see WithWriteTimeout. So Add waits for a slow peer when its outbox is full, and not
// some megabytes later. While it is slow, a write to it holds one goroutine and up to
// 64 KiB.
func WithOutbox(bytes int) Option { return func(c *config) { c.Outbox = bytes } }

// WithOverflow sets what gives way when an outbox is full; by default Disconnect.
func WithOverflow(o Overflow) Option {
	return func(c *config) { c.Overflow = delivery.Overflow(o) }
}

// WithWriteTimeout sets how long a peer may acknowledge nothing while a write to it
// waits. Then its connection is closed, and what waits is reported with ErrSlow, or goes
// to the mailbox. It must be positive; the default is 10 s.
//
// A peer that acknowledges anything within d does not time out. (Its outbox may still
// overflow, see [WithOverflow].) On Linux and macOS the pool asks the system what the peer's
// system has acknowledged, for TCP and TLS, and on Linux for Unix sockets, be they added as
// they are or under [Upgrade]. A full receiver tells of new room only when some of its
// buffer has been read: about a sixteenth on Linux, at most half of it (RFC 9293 section
// 3.8.6.2.2). A peer that reads less in d cannot be told from one that has stopped.
//
// Elsewhere only what the local system takes is seen: pieces of 64 KiB, but whole messages
// on a WebSocket without Upgrade, whose socket is out of reach behind x/net, and on a
// net.Conn of another type. There d must do for the largest message, and a send buffer of
// several megabytes may hide for seconds that a peer reads.
func WithWriteTimeout(d time.Duration) Option {
	return func(c *config) { c.WriteTimeout = d }
}

// WithHeartbeat has a WebSocket to which nothing was written for d pinged, so
// that a dead one is found. One under [Upgrade] is pinged when nothing came from
// it for d, and closed (1001) when it has sent nothing and taken nothing for 2d, so its
// handler must keep reading. What a peer acknowledges counts as taken while a write to it
// waits, and while the ping may still be behind what the system has for it, where that can
// be seen (see [WithWriteTimeout]); once the ping has arrived, only an answer counts.
// Looked at once a second, or four times in d, from Start on; what is less than 10 ms is
// 10 ms. 0 is off; the default 15 s.
func WithHeartbeat(d time.Duration) Option { return func(c *config) { c.Heartbeat = d } }

// WithMailbox has messages for ids that are not connected wait for them, each
// for up to ttl since its id went, since Add, or since Start if it was added before, and
// all together up to so many bytes of payload, and of ids beyond 128 bytes; the oldest
// give way, reported with ErrExpired. Each takes some 250 bytes beside that, or 500 for an
// id of its own, and there may be one for 16 bytes, and 1024. Without it, and with a zero,
// they are reported at once.
func WithMailbox(ttl time.Duration, bytes int) Option {
	return func(c *config) { c.MailboxTTL, c.MailboxBytes = ttl, bytes }
}

// WithNewline has each payload followed by '\n', as the original gcpool does; by
// default true. Without it a raw connection's peer must know where messages end.
func WithNewline(on bool) Option { return func(c *config) { c.Newline = on } }

// WithBinary has messages leave as binary frames (RFC 6455 section 5.6) on the connections
// that [Conn] returns; by default they are text, which must be UTF-8. A *[websocket.Conn] of
// x/net has its PayloadType for that, and a raw connection has no frames.
func WithBinary(on bool) Option { return func(c *config) { c.Binary = on } }

// WithUndelivered sets the function that is told of each message that was
// accepted and not delivered; there is none by default. It runs on a goroutine
// of the pool's, one call at a time and in order with WithPresence; delivery
// goes on meanwhile. It may call the pool; to push to its own pool it should
// use AddContext with a deadline, since Add waits while more reports than
// WithBuffer wait for it. A panic is recovered and logged.
func WithUndelivered(fn func(Undelivered)) Option {
	return func(c *config) {
		if c.Undelivered = nil; fn != nil {
			c.Undelivered = func(id string, data []byte, err error) {
				fn(Undelivered{Pool: c.Pool, ID: id, Data: data, Err: err})
			}
		}
	}
}

// WithPresence sets the function that is told when an id has come or gone;
// there is none by default. A newer connection that takes over is neither. It
// is called as that of WithUndelivered.
func WithPresence(fn func(pool, id string, connected bool)) Option {
	return func(c *config) {
		if c.Presence = nil; fn != nil {
			c.Presence = func(id string, connected bool) { fn(c.Pool, id, connected) }
		}
	}
}

// WithLogger sets where joins and leaves are logged, at Debug, and slow peers,
// at Warn; never a payload, and ids only quoted. Lines are left out while it is
// too slow. The default, and nil, is [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.Logger = l } }

// check refuses options without meaning.
func check(c *config) error {
	wrong := ""
	switch {
	case c.Buffer < 1 || c.Buffer > 1<<24:
		wrong = "WithBuffer must be positive, and at most 1<<24"
	case c.Outbox < 1:
		wrong = "WithOutbox must be positive"
	case c.Overflow < delivery.Disconnect || c.Overflow > delivery.DropNewest:
		wrong = "WithOverflow of an unknown kind"
	case c.WriteTimeout <= 0:
		wrong = "WithWriteTimeout must be positive"
	case c.Heartbeat < 0:
		wrong = "WithHeartbeat must not be negative"
	case c.MailboxTTL < 0 || c.MailboxBytes < 0:
		wrong = "WithMailbox must not be negative"
	}
	if wrong != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, wrong)
	}
	if c.Heartbeat > 0 {
		c.Heartbeat = max(c.Heartbeat, 10*time.Millisecond)
	}
	if c.MailboxTTL == 0 || c.MailboxBytes == 0 { // it is off
		c.MailboxTTL, c.MailboxBytes = 0, 0
	}
	return nil
}
