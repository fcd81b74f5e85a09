package peers

import (
	"net/http"
	"sync"

	"github.com/lxzan/gws"
	"github.com/nulijiabei/gcpool"
)

// goWS is lxzan/gws. Its WriteAsync queues without a bound. In its callback we bound how many
// messages are queued, and learn when the payload may be reused.
type goWS struct {
	hub[*gwsUser]
	gws.BuiltinEventHandler
	upgrader *gws.Upgrader
	payloads sync.Pool
}

type gwsUser struct {
	conn *gws.Conn
	gate *gate
}

func newGws() (Peer, error) {
	p := new(goWS)
	p.payloads.New = func() any { return new([]byte) }
	p.upgrader = gws.NewUpgrader(p, nil)
	return p, nil
}

// Handler follows gws's best practice: it returns, so that the request can be collected,
// and leaves the read loop to a goroutine.
func (p *goWS) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := p.upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		id, u := r.FormValue("id"), &gwsUser{conn, newGate()}
		p.add(id, u)
		go func() {
			conn.ReadLoop()
			u.gate.close()
			p.del(id, u)
		}()
	})
}

// OnPing answers, as gws's best practice does.
func (p *goWS) OnPing(conn *gws.Conn, payload []byte) { _ = conn.WritePong(payload) }

func (p *goWS) Push(user int, payload []byte) error {
	u, ok := p.get(user)
	if !ok || !u.gate.enter() {
		return errGone
	}
	data := p.payloads.Get().(*[]byte)
	*data = append((*data)[:0], payload...)
	u.conn.WriteAsync(gws.OpcodeText, *data, func(error) {
		p.payloads.Put(data)
		u.gate.leave()
	})
	return nil
}

func (p *goWS) Broadcast(payload []byte) error {
	b := gws.NewBroadcaster(gws.OpcodeText, append([]byte(nil), payload...))
	defer b.Close()
	for _, u := range p.all() {
		if err := b.Broadcast(u.conn); err != nil {
			return err
		}
	}
	return nil
}

func (p *goWS) Close() {
	for _, u := range p.all() {
		_ = u.conn.NetConn().Close()
	}
}

// pooledGws also returns, and leaves the read loop to a goroutine.
func pooledGws(conns *gcpool.ConnPool) http.Handler {
	upgrader := gws.NewUpgrader(new(goWS), nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		if join(conns, r) != nil {
			_ = conn.NetConn().Close()
			return
		}
		go conn.ReadLoop()
	})
}
