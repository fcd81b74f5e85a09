package peers

import (
	"bytes"
	"net/http"

	"github.com/nulijiabei/gcpool"
	"github.com/olahol/melody"
)

// melodic is olahol/melody. It drops a message when a session's buffer is full. So we let
// no more messages wait than the buffer holds: HandleSentMessage reports when a message
// has been written.
type melodic struct {
	hub[*melody.Session]
	m *melody.Melody
}

const gateKey = "gate"

func newMelody() (Peer, error) {
	p := &melodic{m: melody.New()}
	p.m.Config.MessageBufferSize = queue
	p.m.HandleConnect(func(s *melody.Session) {
		s.Set(gateKey, newGate())
		p.add(s.Request.FormValue("id"), s)
	})
	p.m.HandleDisconnect(func(s *melody.Session) {
		p.del(s.Request.FormValue("id"), s)
		gateOf(s).close()
	})
	p.m.HandleSentMessage(func(s *melody.Session, _ []byte) { gateOf(s).leave() })
	return p, nil
}

func gateOf(s *melody.Session) *gate { return s.MustGet(gateKey).(*gate) }

func (p *melodic) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = p.m.HandleRequest(w, r) })
}

func (p *melodic) Push(user int, payload []byte) error {
	s, ok := p.get(user)
	if !ok || !gateOf(s).enter() {
		return errGone
	}
	return s.Write(bytes.Clone(payload))
}

func (p *melodic) Broadcast(payload []byte) error {
	for _, s := range p.all() {
		gateOf(s).enter()
	}
	return p.m.Broadcast(bytes.Clone(payload))
}

func (p *melodic) Close() { _ = p.m.Close() }

// pooledMelody adds a session's connection when the session begins.
func pooledMelody(conns *gcpool.ConnPool) http.Handler {
	m := melody.New()
	m.HandleConnect(func(s *melody.Session) {
		if join(conns, s.Request) != nil {
			_ = s.Close()
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = m.HandleRequest(w, r) })
}
