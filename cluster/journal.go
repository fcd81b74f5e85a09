package cluster

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// A journal records and logs the errors of a node.
type journal struct {
	name    string
	logs    *slog.Logger
	fault   atomic.Pointer[error] // the last one
	faulted atomic.Int64          // when an error was logged last
}

// note records an error, and logs at most one per second.
func (j *journal) note(err error) {
	now := time.Now().UnixNano()
	if last := j.faulted.Load(); now-last > int64(time.Second) && j.faulted.CompareAndSwap(last, now) {
		j.noteOnce(err)
		return
	}
	j.fault.Store(&err)
}

// noteOnce records an error and always logs it. It is for conditions that a caller reports only
// once, when they begin.
func (j *journal) noteOnce(err error) {
	j.fault.Store(&err)
	j.log(slog.LevelWarn, "gcpool/cluster: error", "err", err)
}

// log logs on a goroutine of its own, because a logger may block or panic.
func (j *journal) log(level slog.Level, text string, args ...any) {
	go func() {
		defer func() { _ = recover() }()
		cmp.Or(j.logs, slog.Default()).Log(context.Background(), level, text, append(args, "node", j.name)...)
	}()
}
