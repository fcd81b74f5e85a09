package cluster

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// A journal is what a node says of its errors.
type journal struct {
	name    string
	logs    *slog.Logger
	fault   atomic.Pointer[error] // the last one
	faulted atomic.Int64          // when an error was logged last
}

// note records an error, and logs at most one a second.
func (j *journal) note(err error) {
	now := time.Now().UnixNano()
	if last := j.faulted.Load(); now-last > int64(time.Second) && j.faulted.CompareAndSwap(last, now) {
		j.noteOnce(err)
		return
	}
	j.fault.Store(&err)
}

// noteOnce records and logs an error that is noted only once, when it begins.
func (j *journal) noteOnce(err error) {
	j.fault.Store(&err)
	j.log(slog.LevelWarn, "gcpool/cluster: error", "err", err)
}

// log logs on a goroutine, because a logger may block or panic.
func (j *journal) log(level slog.Level, text string, args ...any) {
	go func() {
		defer func() { _ = recover() }()
		cmp.Or(j.logs, slog.Default()).Log(context.Background(), level, text, append(args, "node", j.name)...)
	}()
}
