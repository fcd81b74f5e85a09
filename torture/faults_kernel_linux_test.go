package torture

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestFault26StalledPeersThatComeBack: peers with a receive buffer of 64 KiB stop reading, and
// their users reconnect. The bytes in the system's buffers are lost, although they count as
// written. TCP_NOTSENT_LOWAT bounds that loss; the test logs it with and without the bound.
func TestFault26StalledPeersThatComeBack(t *testing.T) {
	const users, messages, size = 4, 8 << 10, 1 << 10
	lost := func(bound bool) uint64 {
		r := newTCP(t, gcpool.WithOutbox(32<<20), gcpool.WithHeartbeat(0), gcpool.WithWriteTimeout(time.Minute))
		window := 64 << 10
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
			return c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, window)
			})
		}}
		var server net.Conn
		r.pair = func() (s, c net.Conn) {
			l := listen(t)
			defer l.Close()
			c, err := dialer.Dial("tcp", l.Addr().String())
			if err == nil {
				server, err = l.Accept()
			}
			if err != nil {
				t.Fatal(err)
			}
			return server, c
		}
		for i := range users {
			stalled := r.connect(fmt.Sprint(i), raw)
			stalled.reading = true // not again
			if !bound {
				unlimit(t, server)
			}
			for range messages {
				r.push(1, stalled.id, size)
			}
		}
		for end := time.Now().Add(20 * time.Second); r.stats().Stalled < users; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("only %d stall", r.stats().Stalled)
			}
		}
		window = 1 << 20
		for i := range users {
			r.reader(fmt.Sprint(i), raw)
		}
		for end := time.Now().Add(time.Minute); r.stats().Waiting > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d still wait", r.stats().Waiting)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := r.pool.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		r.wg.Wait()
		for _, u := range r.users[:users] {
			u.ledger.End(false)
			u.Conn.Close()
		}
		r.finish()
		r.judge()
		totals := r.ledger.Totals()
		if totals.Undelivered > users { // the message that was being written when its connection was replaced
			t.Errorf("%d were reported", totals.Undelivered)
		}
		return (totals.Accepted - totals.Received - totals.Undelivered) * size / users
	}
	without, with := lost(false), lost(true)
	t.Logf("a stalled peer loses %d KiB at its reconnect, and %d KiB without the bound", with>>10, without>>10)
	// A receive buffer of 64 KiB takes up to 128 KiB.
	if with > 256<<10+128<<10 || with >= without {
		t.Errorf("%d KiB are lost with the bound, %d KiB without", with>>10, without>>10)
	}
}

// unlimit undoes TCP_NOTSENT_LOWAT.
func unlimit(t *testing.T, conn net.Conn) {
	t.Helper()
	rc, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, 25, 1<<30) })
	if err != nil {
		t.Fatal(err)
	}
}
