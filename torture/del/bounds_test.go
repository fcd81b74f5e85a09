package del

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/nulijiabei/gcpool"
)

// The pool remembers the owners of this many connections of an id, and of this many ids that
// have gone, as Del's doc comment says.
const (
	connections = 64 // of handlers that hang, and the last 16 of others
	idsAway     = 16384
)

var pipeKind = kind{name: "pipe", open: pipes}

func TestConnectionsThatAreRemembered(t *testing.T) {
	play(t, pipeKind, map[string]string{
		"all hang": visits(1, connections, "%d connects: %[1]d\n") + "1 dels: 64",
		"some have left": visits(1, 16, "%d connects: %[1]d\n") + visits(2, 10, "%d dels: 16\n") +
			visits(17, 25, "%d connects: %[1]d\n") + "1 dels: 25",
	})
}

func TestIDsThatAreRemembered(t *testing.T) {
	s := openSite(t, pipeKind)
	p := newPlayer(t, s)
	p.play("1 connects: 1\nadmin kicks: nobody")
	for i := range idsAway - 1 {
		comeAndGo(t, s, fmt.Sprint("other ", i))
	}
	p.play("2 connects: 2\n1 dels: 2\nadmin dels: nobody")
}

// comeAndGo connects id from a goroutine of its own and kicks it. The message after that makes
// the pool check at once whether anything still keeps the id.
func comeAndGo(t *testing.T, s *site, id string) {
	conn, _ := net.Pipe()
	done := make(chan bool)
	go func() {
		defer close(done)
		if err := s.conns.Add(id, conn); err != nil {
			t.Error(err)
		}
	}()
	<-done
	s.conns.Kick(id, 1000, "")
	if err := s.stream.Deliver(t.Context(), id, nil); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v", err)
	}
}

// TestMemoryIsBounded: the pool's memory of owners must not grow with the number of
// connections, neither those of one id nor those of many ids.
func TestMemoryIsBounded(t *testing.T) {
	for name, id := range map[string]func(i int) string{
		"one id":   func(int) string { return "a" },
		"many ids": func(i int) string { return fmt.Sprint(i) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openSite(t, pipeKind)
			p := newPlayer(t, s)
			p.id = "a"
			p.play("1 connects: 1\n2 connects: 2\n2 logs out: nobody") // the first hangs
			const first, all = 2 * idsAway, 16 * idsAway
			for i := range first {
				comeAndGo(t, s, id(i))
			}
			before := heap()
			for i := first; i < all; i++ {
				comeAndGo(t, s, id(i))
			}
			// Go's maps grow by tables of random fill, so the same
			// ids may take 700 KB more or less.
			const most = 1 << 20 // less than 5 bytes for each
			eventually(t, "the heap is as it was", func() bool { return heap() < before+most })
			p.play("3 connects: 3")
		})
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
