package promises

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
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

// TestNothingBehindANil: a nil pointer in place of a connection, even
// under TLS, must not cause a panic.
func TestNothingBehindANil(t *testing.T) {
	p, conns, stream := started(t)
	var tcp *net.TCPConn
	var unix *net.UnixConn
	for i, conn := range []net.Conn{
		tls.Server(nil, &tls.Config{}), tls.Client(tcp, &tls.Config{}), tls.Server(unix, &tls.Config{}), new(tls.Conn),
		gcpool.NewConn(tls.Server(nil, &tls.Config{})), gcpool.NewConn(new(tls.Conn)),
	} {
		id := fmt.Sprint(i)
		if err := conns.Add(id, conn); err != nil {
			t.Errorf("%T: %v", conn, err)
		}
		stream.Add(id, []byte("x"))
		conns.Del(id)
	}
	for _, conn := range []net.Conn{tcp, unix, gcpool.NewConn(tcp), gcpool.NewConn(nil)} {
		if err := conns.Add("a", conn); !errors.Is(err, gcpool.ErrInvalid) {
			t.Errorf("%T: %v", conn, err)
		}
	}
	if err := shutdown(p, 20*time.Second); err != nil { // when all are closed
		t.Error(err)
	}
}
