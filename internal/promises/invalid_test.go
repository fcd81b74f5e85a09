package promises

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// balky is a logger that panics in Enabled.
type balky struct{ slog.Handler }

func (balky) Enabled(context.Context, slog.Level) bool { panic("no") }

// TestOddInputPanicsNowhere: neither a logger that panics, nor a nil or zero Pool,
// makes the library panic.
func TestOddInputPanicsNowhere(t *testing.T) {
	for _, l := range []*slog.Logger{new(slog.Logger), slog.New(balky{slog.DiscardHandler})} {
		_, c, _ := started(t, gcpool.WithLogger(l))
		pipe(t, c, "alice")
	}
	for what, p := range map[string]*gcpool.Pool{"nil": nil, "zero": new(gcpool.Pool)} {
		p.Start()
		if p.GetConn("x") != nil || p.GetStream("x") != nil || len(p.Stats()) != 0 {
			t.Errorf("a %s pool has something", what)
		}
		for _, err := range []error{p.Register("x"), p.SetCluster(nil), shutdown(p, time.Second)} {
			if !errors.Is(err, gcpool.ErrInvalid) {
				t.Errorf("a %s pool: %v", what, err)
			}
		}
	}
}

// TestHugeBufferIsRefused: Register must not panic when the buffer is too large for a
// channel.
func TestHugeBufferIsRefused(t *testing.T) {
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Register panics: %v", v)
		}
	}()
	t.Log(gcpool.NewPool().Register("x", gcpool.WithBuffer(math.MaxInt)))
}
