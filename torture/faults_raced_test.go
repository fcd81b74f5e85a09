package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// racer is one goroutine that calls every method.
type racer struct {
	*race
	rnd      *rand.Rand
	producer uint32
}

// race is what racers share.
type race struct {
	*rig
	owed  atomic.Int64 // calls of Receive's done that are to come
	mu    sync.Mutex
	calls map[string]int
	peers []*user
}

// everyone is the id of messages that are for whoever is there, as those of
// Broadcast are. The ledger cannot judge them; Stats does.
const everyone = "*"

func broadcast() []byte { return ledger.Append(nil, ledger.Message{ID: everyone, Size: 100}) }

// methods has a call for every exported method.
var methods = map[string]func(w *racer, id string){
	"Pool.Register":  func(w *racer, id string) { w.pool.Register("other " + id) },
	"Pool.GetConn":   func(w *racer, id string) { w.pool.GetConn("other " + id).Del(id) },
	"Pool.GetStream": func(w *racer, id string) { w.pool.GetStream("other "+id).Add(id, broadcast()) },
	"Pool.Start":     func(w *racer, _ string) { w.pool.Start() },
	"Pool.Shutdown":  nil, // once, by the test
	"Pool.Stats":     func(w *racer, _ string) { w.addUp() },
	"Pool.SetCluster": func(w *racer, _ string) {
		var c gcpool.Cluster
		if w.rnd.IntN(2) == 0 {
			c = nobody{}
		}
		w.pool.SetCluster(c)
	},

	"ConnPool.Add":       func(w *racer, id string) { w.connect(id, pick(w.rnd)) },
	"ConnPool.Del":       func(w *racer, id string) { w.rarely(func() { w.conns.Del(id) }) },
	"ConnPool.DelConn":   func(w *racer, id string) { w.rarely(func() { w.conns.DelConn(id, w.any()) }) },
	"ConnPool.Kick":      func(w *racer, id string) { w.rarely(func() { w.conns.Kick(id, 4999, "raced") }) },
	"ConnPool.Evict":     func(w *racer, id string) { w.rarely(func() { w.conns.Evict(id, w.any()) }) },
	"ConnPool.Appeared":  func(w *racer, id string) { w.conns.Appeared(id) },
	"ConnPool.Get":       (*racer).get,
	"ConnPool.Connected": func(w *racer, id string) { w.conns.Connected(id) },
	"ConnPool.Len":       func(w *racer, _ string) { w.conns.Len() },
	"ConnPool.Since":     func(w *racer, id string) { w.conns.Since(id) },
	"ConnPool.All":       func(w *racer, _ string) { w.any() },
	"ConnPool.Name":      func(w *racer, _ string) { w.conns.Name() },

	"StreamPool.Add":        (*racer).add,
	"StreamPool.AddContext": (*racer).addContext,
	"StreamPool.Deliver":    (*racer).deliver,
	"StreamPool.Broadcast":  func(w *racer, _ string) { w.stream.Broadcast(broadcast()) },
	"StreamPool.BroadcastContext": func(w *racer, _ string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.rnd.IntN(3))*time.Millisecond)
		defer cancel()
		w.stream.BroadcastContext(ctx, broadcast())
	},
	"StreamPool.Receive": (*racer).receive,
	"StreamPool.Len":     func(w *racer, _ string) { w.stream.Len() },
	"StreamPool.Cap":     func(w *racer, _ string) { w.stream.Cap() },
	"StreamPool.Name":    func(w *racer, _ string) { w.stream.Name() },
}

// exported returns the names of all exported methods.
func exported() (names []string) {
	for _, typ := range []reflect.Type{reflect.TypeFor[*gcpool.Pool](), reflect.TypeFor[*gcpool.ConnPool](),
		reflect.TypeFor[*gcpool.StreamPool]()} {
		for m := range typ.NumMethod() {
			names = append(names, typ.Elem().Name()+"."+typ.Method(m).Name)
		}
	}
	return names
}

// TestFault20EveryMethodRaced: whatever is called at the same time, Shutdown
// included, every message has its outcome, Stats adds up, and nothing hangs or is
// left. What a race detector can find, CI finds here.
func TestFault20EveryMethodRaced(t *testing.T) {
	for round := range 3 {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			var r *rig
			hook := gcpool.WithUndelivered(func(u gcpool.Undelivered) {
				if m, err := ledger.Decode(u.Data); err != nil || m.ID != everyone {
					r.ledger.Undelivered(u)
				}
			})
			r = newTCP(t, hook, gcpool.WithOutbox(32<<10), gcpool.WithBuffer(10), gcpool.WithHeartbeat(40*time.Millisecond),
				gcpool.WithWriteTimeout(200*time.Millisecond), gcpool.WithPresence(func(string, string, bool) {}),
				gcpool.WithMailbox(time.Duration(round%2)*20*time.Millisecond, 8<<10), gcpool.WithOverflow(gcpool.Overflow(round)))
			c := &race{rig: r, calls: make(map[string]int)}
			stop := make(chan struct{})
			var racing sync.WaitGroup
			for n := range 8 {
				w := &racer{c, rand.New(rand.NewPCG(uint64(round), uint64(n))), uint32(n)}
				racing.Go(func() { w.run(stop) })
			}
			time.Sleep(500 * time.Millisecond) // how long they race; nothing is waited for
			r.raceShutdown()
			close(stop)
			racing.Wait()
			c.over()
		})
	}
}

// raceShutdown calls Shutdown from three sides while the racers run.
func (r *rig) raceShutdown() {
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), far)
			defer cancel()
			if err := r.pool.Shutdown(ctx); err != nil {
				r.t.Errorf("Shutdown: %v", err)
			}
		})
	}
	wg.Wait()
	if err := r.stream.Add("a", nil); err != gcpool.ErrClosed {
		r.t.Errorf("Add after Shutdown: %v", err)
	}
}

// run calls methods until it is told to stop.
func (w *racer) run(stop chan struct{}) {
	names := exported()
	for {
		select {
		case <-stop:
			return
		default:
		}
		name := names[w.rnd.IntN(len(names))]
		call := methods[name]
		if name == "Pool.Shutdown" || name == "ConnPool.Add" && w.rnd.IntN(10) > 0 {
			continue
		}
		w.mu.Lock()
		w.race.calls[name]++
		w.mu.Unlock()
		if call == nil {
			w.t.Errorf("%s is not raced", name)
			return
		}
		call(w, string('a'+rune(w.rnd.IntN(4))))
	}
}

// over ends the peers that Shutdown has not ended, and judges.
func (c *race) over() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.peers { // of those that came too late
		u.Conn.SetReadDeadline(time.Now().Add(time.Second))
	}
	if err := c.end(far); err != nil {
		c.t.Error(err)
	}
	for name := range methods {
		if c.calls[name] == 0 && name != "Pool.Shutdown" {
			c.t.Errorf("%s was never called", name)
		}
	}
	if n := c.owed.Load(); n != 0 {
		c.t.Errorf("%d batches have no outcome", n)
	}
	if got := c.ledger.Totals(); got.Received == 0 || got.Undelivered == 0 {
		c.t.Errorf("only %+v", got)
	}
}

// addUp looks whether Stats adds up. The ledger may not be told, for it wants
// the samples in order.
func (w *racer) addUp() {
	for _, s := range w.pool.Stats() {
		if s.Accepted != s.Written+s.Forwarded+s.Undelivered+uint64(s.Waiting) || s.Waiting < 0 || s.WaitingBytes < 0 || s.Connections < 0 {
			w.t.Errorf("Stats do not add up: %+v", s)
		}
	}
}

func (w *racer) rarely(do func()) {
	if w.rnd.IntN(50) == 0 {
		do()
	}
}

// any returns some connection, nil if there is none.
func (w *racer) any() (some net.Conn) {
	for _, conn := range w.conns.All() {
		if some = conn; w.rnd.IntN(2) == 0 {
			break
		}
	}
	return some
}

// connect connects id and has its peer read, for some messages or to the end.
func (w *racer) connect(id string, k kind) {
	u := &user{id: id, kind: k}
	if k != raw {
		conn, err := w.dial()
		if err != nil {
			w.t.Error(err)
			return
		}
		w.join(u, conn)
	} else {
		s, c := w.pair()
		u.Peer = peer.Raw(c)
		if _, err := w.ledger.Connect(id, func(lc *ledger.Conn) error {
			u.ledger = lc
			return w.conns.Add(id, s)
		}); err != nil {
			s.Close()
			c.Close()
			return
		}
	}
	most := 1 << 30
	if w.rnd.IntN(3) == 0 {
		most = w.rnd.IntN(1000)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = append(w.peers, u)
	w.wg.Go(func() { u.hear(most) })
}

// hear tells the ledger of up to so many messages that are u's alone.
func (u *user) hear(most int) {
	defer u.Conn.Close()
	for range most {
		data, err := u.Next()
		if err != nil {
			var timeout net.Error
			u.ledger.End(!errors.Is(err, peer.ErrProtocol) && !errors.As(err, &timeout))
			return
		}
		if m, err := ledger.Decode(data); err != nil || m.ID != everyone {
			u.ledger.Receive(data)
		}
	}
}

func (w *racer) get(id string) {
	w.conns.Get(id, func(net.Conn) (err error) {
		w.rarely(func() { err = errors.New("away with it") })
		w.conns.Len()
		return err
	})
}

// size is of a message; some take more than one write.
func (w *racer) some() int {
	if w.rnd.IntN(100) == 0 {
		return 30_000
	}
	return 40 + w.rnd.IntN(200)
}

func (w *racer) add(id string) {
	w.ledger.Stream(w.producer, id).Add(w.some(), func(data []byte) error { return w.stream.Add(id, data) })
}

func (w *racer) addContext(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	w.ledger.Stream(w.producer, id).Add(w.some(), func(data []byte) error { return w.stream.AddContext(ctx, id, data) })
}

func (w *racer) deliver(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(w.rnd.IntN(5))*time.Millisecond)
	defer cancel()
	w.ledger.Stream(w.producer, id).Deliver(w.some(), func(data []byte) error { return w.stream.Deliver(ctx, id, data) })
}

func (w *racer) receive(id string) {
	batch := [][]byte{broadcast(), broadcast(), broadcast()}
	w.owed.Add(1)
	taken, err := w.stream.Receive(id, batch, func(errs []error) {
		if w.owed.Add(-1); len(errs) == 0 || len(errs) > len(batch) {
			w.t.Errorf("%d outcomes of %d messages", len(errs), len(batch))
		}
	})
	if taken == 0 {
		w.owed.Add(-1)
	}
	if (err == nil) != (taken == len(batch)) {
		w.t.Errorf("Receive took %d of %d: %v", taken, len(batch), err)
	}
}

// nobody is a cluster in which nobody is connected elsewhere.
type nobody struct{}

func (nobody) Changed(pool, id string) {}

func (nobody) Forward(pool, id string, batch [][]byte, done func(errs []error)) {
	errs := make([]error, len(batch))
	for i := range errs {
		errs[i] = gcpool.ErrNotConnected
	}
	done(errs)
}

func (nobody) Broadcast(pool string, data []byte) error { return nil }
