package delivery

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestNoAddWaitsForALogger: while the logger is slow, many
// connections join at once. Without a hook, Add must not wait.
func TestNoAddWaitsForALogger(t *testing.T) {
	b := blockedLogger{make(chan bool)}
	g := begun(backlog.Config{Hooks: report.Hooks{Buffer: 1, Logger: slog.New(b)}, Outbox: 1 << 20, WriteTimeout: time.Second})
	g.Report.AskLogger()
	var joining sync.WaitGroup
	for range 8 {
		joining.Go(func() {
			NewRecipient(&g.Shared, "a", nil).Attach(cursor.NewConnection(&sleepy{}, false), 0)
		})
	}
	joining.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := g.Room(ctx, true); err != nil {
		t.Errorf("Room: %v", err)
	}
	close(b.open)
}

// blockedLogger is a [slog.Handler] that blocks until it is opened.
type blockedLogger struct{ open chan bool }

func (b blockedLogger) Handle(context.Context, slog.Record) error { <-b.open; return nil }
func (b blockedLogger) Enabled(context.Context, slog.Level) bool  { return true }
func (b blockedLogger) WithAttrs([]slog.Attr) slog.Handler        { return b }
func (b blockedLogger) WithGroup(string) slog.Handler             { return b }
