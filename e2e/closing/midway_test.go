package closing

import (
	"net/http"
	"testing"

	"github.com/gobwas/ws"
)

// TestKickInsideAMessage ends a connection while a push waits for an unfinished message of the
// library. A close frame may be sent inside the message (RFC 6455 section 5.4).
func TestKickInsideAMessage(t *testing.T) {
	begin := func(s *site) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, _, err := ws.UpgradeHTTP(r, w)
			if err != nil {
				return // the library has sent the error
			}
			conn.Write([]byte{0x01, 1, 'x'}) // a text message that never ends
			s.session(r.URL.Path).add(conn)
			conn.Read(make([]byte, 1))
		})
	}
	s := newSite(t, &closure{library: library{serve: begin}})
	defer s.close()
	p, err := dialRaw(s.url() + "0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s.await(t, 1)
	s.tell(1, "this waits")
	s.conns.Kick("0", 4001, "bye")
	if got, want := p.read(), (ending{Code: 4001, Reason: "bye", Clean: true}); got != want {
		t.Errorf("the client has seen %+v, want %+v", got, want)
	}
}
