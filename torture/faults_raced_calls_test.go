package torture

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// addUp checks that Stats adds up. It does not use the ledger, which needs its samples in order.
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

// any returns some connection, or nil if there is none.
func (w *racer) any() (some net.Conn) {
	for _, conn := range w.conns.All() {
		if some = conn; w.rnd.IntN(2) == 0 {
			break
		}
	}
	return some
}

// connect connects id and lets its peer read, either to the end or only some messages.
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

// hear passes at most most messages that u receives to the ledger.
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

// some returns a size for a message. A few messages need more than one write.
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

// addFunc adds a message whose function must be called once. The
// ledger gets the outcome as if from the hook.
func (w *racer) addFunc(id string) {
	w.ledger.Stream(w.producer, id).Add(w.some(), func(data []byte) error {
		var calls atomic.Int32
		sent := slices.Clone(data) // the caller may reuse data when AddFunc has returned
		w.pending.Add(1)
		err := w.stream.AddFunc(id, data, func(err error) {
			if w.pending.Add(-1); calls.Add(1) != 1 {
				w.t.Error("an outcome was reported twice")
			}
			if err != nil {
				w.ledger.Undelivered(gcpool.Undelivered{Pool: name, ID: id, Data: sent, Err: err})
			}
		})
		if err != nil {
			w.pending.Add(-1)
		}
		return err
	})
}

func (w *racer) local() *gcpool.Local { return gcpool.NewLocal(w.pool) }

func (w *racer) receive(id string) {
	batch := [][]byte{broadcast(), broadcast(), broadcast()}
	w.pending.Add(1)
	taken, err := w.local().Receive(name, id, batch, func(errs []error) {
		if w.pending.Add(-1); len(errs) == 0 || len(errs) > len(batch) {
			w.t.Errorf("%d outcomes of %d messages", len(errs), len(batch))
		}
	})
	if taken == 0 {
		w.pending.Add(-1)
	}
	if (err == nil) != (taken == len(batch)) {
		w.t.Errorf("Receive took %d of %d: %v", taken, len(batch), err)
	}
}

// nobody is a cluster in which no id is connected elsewhere.
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
