// Package cursor brings the messages of one id to its connection. A Cursor holds the connection,
// its turn to write, and the write under way. It also closes connections that are removed. While
// the id is away, the cursor's turns take the waiting messages to other processes or to the
// mailbox.
package cursor

import (
	"errors"
	"slices"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// A Cursor writes the first messages of a backlog. It is the cursor, not the id, that stands in
// line, stalls and times out. The backlog's lock guards it. Exported methods take the lock,
// unless their names end in Locked. Unexported methods, and the methods of flight and Connection,
// expect the caller to hold the lock. These take it themselves: Cursor.judge and returned;
// flight.once, write, progress and land; and watch. Cursor.ask and the methods of transport.Link
// need no lock.
type Cursor struct {
	turn   turn
	active bool // written to since the last beat
	schedule.Place
	backlog *backlog.Backlog
	conn    *Connection // nil while the id is away
	flight  *flight     // the write under way, maybe to an older connection; nil if none is
	owners  owners.List // who added this connection and earlier ones
}

// New returns the cursor of b, without a connection. o has the owners of the id's earlier
// connections.
func New(b *backlog.Backlog, o owners.List) Cursor { return Cursor{backlog: b, owners: o} }

// Serve makes one write: of the first chunk that waits, of the control frame that is due, or of
// a batch for another process.
func (c *Cursor) Serve(w *schedule.Writer) (more bool) {
	c.backlog.Lock()
	if !c.due() {
		c.turn = idle
		c.backlog.Unlock()
		return false
	}
	if c.conn == nil {
		c.forward(w)
		return false
	}
	f := begin(c, w)
	c.backlog.Unlock()
	return f.write()
}

// due reports whether there is something to write, or to forward.
func (c *Cursor) due() bool {
	if c.conn == nil {
		return c.flight == nil && c.backlog.Due()
	}
	return c.conn.control != 0 || c.backlog.Log.Waits()
}

// WakeLocked puts c in line if there is something to write.
func (c *Cursor) WakeLocked() {
	if c.turn == idle && c.due() {
		c.turn = queued
		c.backlog.Shared.Line.Put(c)
	}
}

// InlineLocked is WakeLocked for a caller that can make the write itself. If it returns a
// function, the caller must call it after releasing the lock.
func (c *Cursor) InlineLocked() (write func()) {
	if c.turn == idle && c.conn != nil && c.conn.Tries() && c.backlog.Log.Waits() {
		c.turn = queued
		if w := c.backlog.Shared.Line.Inline(c); w != nil {
			return begin(c, w).inline
		}
	}
	c.WakeLocked()
	return nil
}

// forward hands a batch to the remote, and unlocks the backlog. It sends one batch at a time,
// which keeps the order, and lets messages gather meanwhile and leave together.
func (c *Cursor) forward(w *schedule.Writer) {
	b := c.backlog
	batch := b.Load()
	if batch == nil {
		c.turn = idle
		b.Unlock()
		b.Shared.Retire(b.ID)
		return
	}
	c.turn = writing
	b.Unlock()
	w.Begin()
	batch.Forward(b.Shared.Pool, b.ID, func(errs []error) { c.returned(batch, errs) })
	w.End()
}

var errNoOutcome = outcome.Ask(errors.New("gcpool: the Cluster has reported no outcome"))

// returned settles a batch whose outcomes have come.
func (c *Cursor) returned(batch *backlog.Batch, errs []error) {
	b, asked := c.backlog, slices.Repeat([]error{errNoOutcome}, batch.Len())
	for i := range min(len(errs), len(asked)) {
		asked[i] = outcome.Ask(errs[i])
	}
	b.Lock()
	if b.Returned(batch, asked) {
		c.turn = idle
		c.WakeLocked()
	}
	b.Unlock()
	b.Shared.Retire(b.ID)
}

// WithoutRemote notes that there is no remote any more; see Backlog.WithoutRemote. If over is
// true, it also reports the batch that is on its way.
func (c *Cursor) WithoutRemote(reason error, over bool) {
	c.backlog.Lock()
	defer c.backlog.Unlock()
	if over && c.backlog.Travels() {
		c.backlog.Abandon(0, reason)
		c.turn = idle
	}
	c.backlog.WithoutRemote(reason)
}
