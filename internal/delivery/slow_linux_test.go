package delivery

import (
	"net"
	"syscall"
	"testing"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestRefusedAttachSetsNothing: an Attach that fails, because the pool is closed or the
// recipient is dead, must leave the socket options of the connection as they were.
func TestRefusedAttachSetsNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for what, refuse := range map[string]func(g *Group, b *Recipient){
		"a closed pool":    func(g *Group, _ *Recipient) { g.Close() },
		"a dead recipient": func(_ *Group, b *Recipient) { b.Retire() },
	} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		unsent := func() (n int) {
			raw, _ := conn.(*net.TCPConn).SyscallConn()
			raw.Control(func(fd uintptr) { n, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 25) }) // TCP_NOTSENT_LOWAT
			return n
		}
		g := begun(backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20})
		b, before := NewRecipient(&g.Shared, "a", nil), unsent()
		refuse(g, b)
		b.Attach(cursor.NewConnection(conn, false), 0)
		if after := unsent(); connOf(b) != nil || after != before || err != nil {
			t.Errorf("%s set TCP_NOTSENT_LOWAT from %d to %d, %v", what, uint32(before), uint32(after), err)
		}
	}
}
