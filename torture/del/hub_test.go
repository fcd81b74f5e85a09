package del

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

// hub lets one goroutine add and remove the connections of all users, with gorilla.
func hub(s *site) {
	calls := make(chan func())
	go func() {
		for call := range calls {
			call()
		}
	}()
	s.t.Cleanup(func() { close(calls) })
	s.on = func(call func()) {
		done := make(chan bool)
		calls <- func() {
			defer close(done)
			call()
		}
		<-done
	}
	web(gorillaPump)(s)
}

// acceptLoop lets the goroutine that accepts TCP connections add them. It starts a reader for
// each connection, which removes it.
func acceptLoop(s *site) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			query, err := r.ReadString('\n')
			if err != nil {
				s.t.Error(err)
				return
			}
			v := s.visit(strings.TrimSpace(query))
			v.join(conn)
			go readLines(v, conn, r)
		}
	}()
	s.dial = func(v *visit) *peer {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			s.t.Error(err)
			return nil
		}
		p := rawPeer(conn)
		p.send(key(v) + "\n")
		return p
	}
}

func readLines(v *visit, conn net.Conn, r *bufio.Reader) {
	defer close(v.returned)
	defer conn.Close()
	v.read(func() error {
		_, err := r.ReadString('\n')
		return err
	})
	v.tidyUp(-1)
}

// TestHubThatUsesDel: once a hub has added two connections of an id,
// its Del removes whichever connection the id has.
func TestHubThatUsesDel(t *testing.T) {
	play(t, kind{name: "hub with Del", open: hub}, map[string]string{
		"one after the other": `
			1 connects: 1
			1 leaves: 1
			1 dels: nobody
			2 connects: 2
			2 leaves: 2
			2 dels: nobody
			2 dels: nobody`,
		"a takeover": `
			1 connects: 1
			2 connects: 2
			1 dels: nobody
			3 connects: 3
			admin dels: nobody`,
		"a takeover, by DelConn": `
			1 connects: 1
			2 connects: 2
			1 delconns: 2
			2 leaves: 2
			2 delconns: nobody
			1 dels: nobody`,
		"late": `
			1 connects: 1
			admin kicks: nobody
			1 dels: nobody
			2 connects: 2
			1 dels: nobody`,
	})
}

// TestReaderOfAnAcceptLoopThatUsesDel: once the loop has added two connections of an id, a
// reader's Del removes nothing, because the reader may belong to either.
func TestReaderOfAnAcceptLoopThatUsesDel(t *testing.T) {
	play(t, kind{name: "accept loop with Del", open: acceptLoop}, map[string]string{
		"one after the other": `
			1 connects: 1
			1 leaves: 1
			1 dels: nobody
			2 connects: 2
			2 leaves: 2
			2 dels: nobody
			3 connects: 3
			3 logs out: nobody`,
		"late, while the id is away": `
			1 connects: 1
			admin kicks: nobody
			1 dels: nobody
			2 connects: 2
			2 leaves: 2
			2 dels: nobody`,
		"a takeover": `
			1 connects: 1
			2 connects: 2
			1 dels: 2
			1 dels: 2
			2 logs out: 2
			2 leaves: 2
			2 dels: 2
			2 delconns: nobody`,
		"an administrator": `
			1 connects: 1
			2 connects: 2
			admin dels: nobody
			3 connects: 3
			1 dels: 3
			admin kicks: nobody`,
	})
}
