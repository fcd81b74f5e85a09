package transport

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestKillOfACloseThatNeverReturns: while Close hangs, Kill keeps trying at little cost.
func TestKillOfACloseThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		defer peer.Close()
		stuck := &stuckClose{Conn: ours, let: make(chan struct{})}
		killed := make(chan struct{})
		go func() {
			defer close(killed)
			(&raw{conn: stuck}).Kill()
		}()
		time.Sleep(time.Hour)
		if n := stuck.deadlines.Load(); n > 1000 {
			t.Errorf("%d deadlines were set in an hour", n)
		}
		close(stuck.let)
		<-killed
	})
}

type stuckClose struct {
	net.Conn
	let       chan struct{}
	deadlines atomic.Int64
}

func (s *stuckClose) Close() error {
	<-s.let
	return nil
}

func (s *stuckClose) SetWriteDeadline(time.Time) error {
	s.deadlines.Add(1)
	return nil
}
