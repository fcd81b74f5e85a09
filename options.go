package gcpool

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
)

// An Option sets one property of a pool. If two options set the same property, the last one wins;
// options of Register override options of NewPool.
type Option func(*config)

type config struct{ backlog.Config }

// Overflow says what happens to a message when the outbox of its id is full and the peer has
// acknowledged nothing for a second. Until then, Add waits. That second does not depend on
// [WithWriteTimeout].
type Overflow int

const (
	// Disconnect closes the connection. Everything that waits for the peer goes to the mailbox, or
	// is reported with ErrSlow.
	Disconnect = Overflow(backlog.Disconnect)
	// DropOldest makes room: it drops the messages that have waited longest, and reports them with
	// ErrSlow. If a write in progress leaves no room, it drops and reports the new message instead.
	DropOldest = Overflow(backlog.DropOldest)
	// DropNewest drops the new message, and reports it with ErrSlow.
	DropNewest = Overflow(backlog.DropNewest)
)

// WithBuffer sets two bounds beyond which Add waits: how many messages may be added before Start,
// and how many calls may wait for slow hooks. A Broadcast before Start counts as one message. A
// message that is reported before Start does not make room for another. The default is 1000, the
// minimum 1, and the maximum 1<<24.
func WithBuffer(messages int) Option { return func(c *config) { c.Buffer = messages } }

// WithOutbox sets how many bytes of payload may wait for one id. The default is 1 MiB; the minimum
// is 1. It also bounds the number of messages, to one for each 4 bytes and 1,024 more. There, a
// message of [StreamPool.Deliver] or [StreamPool.AddFunc] counts as 51. In memory, an outbox takes
// up to twice its payload and a few bytes for each message, but at least 16 KiB once much has
// waited.
//
// Messages that the network has not taken wait in the outbox. There they are bounded, and they
// follow the user to the next connection. To keep them out of the system's send buffer, the pool
// sets TCP_NOTSENT_LOWAT to 128 KiB on Linux and macOS, on each TCP socket that it can reach (see
// [WithWriteTimeout]). A write to a slow peer holds one goroutine and up to 64 KiB.
func WithOutbox(bytes int) Option { return func(c *config) { c.Outbox = bytes } }

// WithOverflow sets what happens when an outbox stays full. The default is Disconnect.
func WithOverflow(o Overflow) Option {
	return func(c *config) { c.Overflow = backlog.Overflow(o) }
}

// WithWriteTimeout sets how long a peer may acknowledge nothing while a write to it waits. After
// that, the pool closes the connection, and the messages that wait go to the mailbox or are
// reported with ErrSlow. The default is 10 s; d must be positive.
//
// A peer that acknowledges anything within d does not time out, although its outbox may overflow
// (see [WithOverflow]). The pool asks the operating system what the peer's system has acknowledged:
// on Linux and macOS for TCP and TLS, on Linux also for Unix sockets, with or without [Upgrade]. A
// receiver with a full buffer announces new room only after its application has read about a
// sixteenth of the buffer on Linux, and at most half of it anywhere (RFC 9293 section 3.8.6.2.2). A
// peer that reads less than that within d looks the same as a peer that has stopped reading.
//
// Everywhere else the pool sees only what its own system takes. This applies to a WebSocket of
// x/net without Upgrade, where the pool sees only whole messages, and to other types of net.Conn.
// There, d must be long enough for the largest message, and a send buffer of several megabytes can
// hide for seconds that a peer reads.
//
// Under Upgrade, a ping or pong that finds no room in the socket waits up to 10 s, whatever d is.
func WithWriteTimeout(d time.Duration) Option {
	return func(c *config) { c.WriteTimeout = d }
}

// WithHeartbeat sets when the pool pings a quiet WebSocket, to find dead peers.
//
// Under [Upgrade], the pool pings a peer that has sent nothing for d. It closes the connection with
// code 1001 when the peer has neither sent nor taken anything for 2d. The pool hears only what the
// handler reads, so the handler must keep reading. A peer takes something when its system
// acknowledges data (see [WithWriteTimeout]). That counts until the ping has arrived; from then on,
// only an answer counts.
//
// Without Upgrade, the pool pings a peer to which nothing has been written for d, and hears no
// answer. A peer that has vanished is closed when the system gives the connection up, on Linux
// after about 15 minutes, or when a write has waited for WithWriteTimeout.
//
// From Start on, the pool checks its connections once a second, or four times in d if that is more
// often; with 250,000 ids it checks half as often. The default is 15 s; 0 turns heartbeats off;
// less than 10 ms means 10 ms.
//
// A browser answers pings without telling its page. So a page does not learn that its network is
// gone, and may wait for minutes on a connection that the pool has closed. If that matters, call
// [StreamPool.Broadcast] at a fixed interval, and let the page connect again when it has heard
// nothing for two intervals.
func WithHeartbeat(d time.Duration) Option { return func(c *config) { c.Heartbeat = d } }

// WithMailbox keeps messages for ids that are not connected. A message is kept for ttl, counted
// from Add, from the disconnect if the message was already waiting, or from Start if it was added
// before. The argument bytes bounds the payload of all kept messages together; their number is at
// most bytes/16 + 1,024. Beyond that, the oldest messages are dropped, whichever ids they are for.
// A message that expires or is dropped is reported with ErrExpired. By default, or if either
// argument is 0, there is no mailbox, and messages for an id that is not connected are reported at
// once. So is a message that could never fit into the mailbox, with ErrNotConnected.
//
// A mailbox lives in its process. Shutdown reports its messages at once, with ErrClosed; even in a
// cluster they do not move to another node. To keep messages across a restart, store them before
// you push them, or when [WithUndelivered] reports them.
//
// In memory, a mailbox takes up to twice its payload, plus about 100 bytes for each message (200
// with AddFunc) and 400 for each id. If an id is longer than 128 bytes, the bytes beyond that count
// as payload of each of its messages.
func WithMailbox(ttl time.Duration, bytes int) Option {
	return func(c *config) { c.MailboxTTL, c.MailboxBytes = ttl, bytes }
}

// WithNewline sets whether '\n' follows each payload, as in the original gcpool. The default is
// true. Without newlines, the peer of a raw connection must know where a message ends.
func WithNewline(on bool) Option { return func(c *config) { c.Newline = on } }

// WithBinary makes messages binary frames (RFC 6455 section 5.6) on the connections that [Conn] and
// [NewConn] return. The default is text frames, whose payload must be UTF-8. On a *[websocket.Conn]
// of x/net, its PayloadType decides instead, and a raw connection has no frames.
func WithBinary(on bool) Option { return func(c *config) { c.Binary = on } }

// WithUndelivered sets a hook that is called for each message that was accepted and not delivered.
// There is none by default. The hook runs on a goroutine of the pool, one call at a time, in order
// with the other hooks. Delivery goes on meanwhile. The messages of an id may be reported in
// another order than Add accepted them. So if you store them to send them again, number them.
//
// The hook may call the pool. If it pushes to its own pool, it should use AddContext with a
// deadline, because Add waits while more than WithBuffer calls wait for the hooks. It should not
// push the same message to the same id again: while the id is away, that would never end. A panic
// is recovered and logged, with its stack.
func WithUndelivered(fn func(Undelivered)) Option {
	return func(c *config) {
		if c.Undelivered = nil; fn != nil {
			c.Undelivered = func(id string, data []byte, err error) {
				fn(Undelivered{Pool: c.Pool, ID: id, Data: data, Err: err})
			}
		}
	}
}

// WithPresence sets a hook that is called when an id has connected or disconnected. There is none
// by default. A takeover by a newer connection in this process is neither. In a cluster, a user who
// moves disconnects from one process and connects to another. The hook may run after [ConnPool.Add]
// has returned; [ConnPool.Connected] is up to date at once. The hook follows the same rules as the
// WithUndelivered hook.
func WithPresence(fn func(pool, id string, connected bool)) Option {
	return func(c *config) { c.Presence = fn }
}

// WithLogger sets where the pool logs: ids that connect or disconnect at Debug, slow peers at Warn.
// It logs no payload. It quotes an id that has a quote, a backslash or anything unprintable. While
// the logger is too slow, the pool drops log lines. The default is [slog.Default]; nil means the
// same.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.Logger = l } }

// check refuses options that are out of range.
func check(c *config) error {
	wrong := ""
	switch {
	case c.Buffer < 1 || c.Buffer > 1<<24:
		wrong = "WithBuffer must be from 1 to 1<<24"
	case c.Outbox < 1:
		wrong = "WithOutbox must be positive"
	case c.Overflow < backlog.Disconnect || c.Overflow > backlog.DropNewest:
		wrong = "WithOverflow must be Disconnect, DropOldest or DropNewest"
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
