package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// racer is one goroutine that calls every method.
type racer struct {
	*race
	rnd      *rand.Rand
	producer uint32
}

// race is the state that racers share.
type race struct {
	*rig
	pending atomic.Int64 // calls to Receive's callback that are still due
	mu      sync.Mutex
	calls   map[string]int
	peers   []*user
}

// everyone is the id of messages for all who are connected, such as Broadcasts. The ledger
// cannot judge these messages; Stats can.
const everyone = "*"

func broadcast() []byte { return ledger.Append(nil, ledger.Message{ID: everyone, Size: 100}) }

// methods has a call for every exported method.
var methods = map[string]func(w *racer, id string){
	"Pool.Register":  func(w *racer, id string) { w.pool.Register("other " + id) },
	"Pool.GetConn":   func(w *racer, id string) { w.pool.GetConn("other " + id).Del(id) },
	"Pool.GetStream": func(w *racer, id string) { w.pool.GetStream("other "+id).Add(id, broadcast()) },
	"Pool.Start":     func(w *racer, _ string) { w.pool.Start() },
	"Pool.Shutdown":  nil, // the test calls it once
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
	"ConnPool.Get":       (*racer).get,
	"ConnPool.Connected": func(w *racer, id string) { w.conns.Connected(id) },
	"ConnPool.Info":      func(w *racer, id string) { w.conns.Info(id) },
	"ConnPool.Len":       func(w *racer, _ string) { w.conns.Len() },
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
	"StreamPool.AddFunc": (*racer).addFunc,
	"StreamPool.Len":     func(w *racer, _ string) { w.stream.Len() },
	"StreamPool.Cap":     func(w *racer, _ string) { w.stream.Cap() },
	"StreamPool.Name":    func(w *racer, _ string) { w.stream.Name() },

	"Local.Receive":  (*racer).receive,
	"Local.Evict":    func(w *racer, id string) { w.rarely(func() { w.local().Evict(name, id, w.any()) }) },
	"Local.Appeared": func(w *racer, id string) { w.local().Appeared(name, id) },
	"Local.Since":    func(w *racer, id string) { w.local().Since(name, id) },
}

// exported returns the names of all exported methods.
func exported() (names []string) {
	for _, typ := range []reflect.Type{reflect.TypeFor[*gcpool.Pool](), reflect.TypeFor[*gcpool.ConnPool](),
		reflect.TypeFor[*gcpool.StreamPool](), reflect.TypeFor[*gcpool.Local]()} {
		for m := range typ.NumMethod() {
			names = append(names, typ.Elem().Name()+"."+typ.Method(m).Name)
		}
	}
	return names
}

// TestFault20EveryMethodRaced: all methods are called at once, including
// Shutdown. Every message has its outcome, Stats adds up, no call hangs,
// and no goroutine is left. CI runs this under the race detector.
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
			time.Sleep(500 * time.Millisecond) // how long the race lasts on an idle machine
			for end := time.Now().Add(far); c.missed() != "" && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			r.raceShutdown()
			close(stop)
			racing.Wait()
			c.over()
		})
	}
}

// raceShutdown calls Shutdown from three goroutines while the racers run.
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

// over ends the peers that Shutdown has not ended, and asks the ledger.
func (c *race) over() {
	if why := c.missed(); why != "" {
		c.t.Error(why)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.peers { // some connected too late for Shutdown to end them
		u.Conn.SetReadDeadline(time.Now().Add(time.Second))
	}
	if err := c.end(far); err != nil {
		c.t.Error(err)
	}
	if n := c.pending.Load(); n != 0 {
		c.t.Errorf("%d batches have no outcome", n)
	}
}

// missed says what has not happened yet, or returns "".
func (c *race) missed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range methods {
		if c.calls[name] == 0 && name != "Pool.Shutdown" {
			return name + " was never called"
		}
	}
	if got := c.ledger.Totals(); got.Received == 0 || got.Undelivered == 0 {
		return fmt.Sprintf("only %+v", got)
	}
	return ""
}
