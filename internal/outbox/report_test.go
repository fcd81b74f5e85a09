package outbox

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestNoAddWaitsForALogger: many connections join at once while the logger is slow.
// Without a hook, Add does not wait.
func TestNoAddWaitsForALogger(t *testing.T) {
	b := blockedLogger{make(chan bool)}
	g := begun(Config{Buffer: 1, Outbox: 1 << 20, WriteTimeout: time.Second, Logger: slog.New(b)})
	g.report.verbose.Store(true)
	g.report.mu.Lock() // as if another goroutine held it for a moment
	var joining sync.WaitGroup
	for range 8 {
		joining.Go(func() { NewBox(g, "a", new(Past)).Attach(transport.NewLink(&sleepy{}, false), Caller{}) })
	}
	time.Sleep(20 * time.Millisecond)
	g.report.mu.Unlock()
	joining.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := g.Room(ctx); err != nil {
		t.Errorf("Room: %v, %d lines wait", err, g.report.backlog.Load())
	}
	close(b.open)
}

// blockedLogger is a [slog.Handler] that blocks until it is opened.
type blockedLogger struct{ open chan bool }

func (b blockedLogger) Handle(context.Context, slog.Record) error { <-b.open; return nil }
func (b blockedLogger) Enabled(context.Context, slog.Level) bool  { return true }
func (b blockedLogger) WithAttrs([]slog.Attr) slog.Handler        { return b }
func (b blockedLogger) WithGroup(string) slog.Handler             { return b }
