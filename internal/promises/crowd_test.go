package promises

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// Peers that stop reading at the same moment delay no one else, however many.
func TestManyPeersThatStallAtOnceDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		for i := range 400 {
			pipe(t, conns, fmt.Sprint("stalled", i))
		}
		in := bufio.NewReader(pipe(t, conns, "reads"))
		for i := range 400 {
			add(t, stream, fmt.Sprint("stalled", i), "x")
		}
		start := time.Now()
		add(t, stream, "reads", "hi")
		lines(t, in, 1)
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("the one that reads waited %v behind those that do not", d)
		}
		shutdown(p, 10*time.Millisecond)
	})
}

// The same over TCP: a network goes away, and each Broadcast after that.
func TestNetworkThatGoesAwayDelaysNobody(t *testing.T) {
	const gone = 400
	p, conns, stream := started(t, gcpool.WithWriteTimeout(time.Minute), gcpool.WithOverflow(gcpool.DropNewest))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var in net.Conn
	for i := range gone + 1 {
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		ours, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if in = peer; i < gone {
			peer.(*net.TCPConn).SetReadBuffer(4 << 10)
			ours.(*net.TCPConn).SetWriteBuffer(4 << 10)
		}
		conns.Add(fmt.Sprint(i), ours)
	}
	go io.Copy(io.Discard, in)
	worst := time.Duration(0)
	for range 20 {
		for i := range gone {
			add(t, stream, fmt.Sprint(i), string(make([]byte, 16<<10)))
		}
		start := time.Now()
		if err := stream.Deliver(t.Context(), fmt.Sprint(gone), []byte("x")); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(start))
	}
	t.Logf("%d stalled; the one that reads waited up to %v", p.Stats()[0].Stalled, worst)
	if worst > 400*time.Millisecond {
		t.Errorf("the one that reads waited up to %v", worst)
	}
	shutdown(p, 10*time.Millisecond)
}
