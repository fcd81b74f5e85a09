package torture

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// end shuts the pool down within d and checks that nothing is left. It is for tests
// that do not use the ledger.
func (r *rig) end(d time.Duration) error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	err := r.pool.Shutdown(ctx)
	r.wg.Wait()
	r.finish()
	if s := r.stats(); s.Waiting != 0 || s.WaitingBytes != 0 || s.Connections != 0 {
		r.t.Errorf("after Shutdown: %+v", s)
	}
	r.judge()
	return err
}

// done shuts the pool down within d, lets every user read the remaining bytes, and asks
// the ledger. It returns Shutdown's error and the last Stats.
func (r *rig) done(d time.Duration) (gcpool.Stats, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	r.stats()
	err := r.pool.Shutdown(ctx)
	s := r.pool.Stats()[0]
	r.after()
	for _, u := range r.users {
		if !u.reading {
			r.run(u)
		}
	}
	r.wg.Wait()
	r.finish()
	r.ledger.Final(s)
	r.judge()
	return s, err
}

// doneSoon is done with a limit of less than a second, whatever the peers do.
func (r *rig) doneSoon(rnd *rand.Rand) (gcpool.Stats, error) {
	r.t.Helper()
	start, limit := time.Now(), time.Duration(1+rnd.IntN(500))*time.Millisecond
	s, err := r.done(limit)
	within(r.t, "Shutdown", start, limit+300*time.Millisecond)
	return s, err
}

// judge asks the ledger, and checks that no goroutine and no descriptor is left.
func (r *rig) judge() {
	r.t.Helper()
	if err := r.ledger.Check(); err != nil {
		r.t.Error(err)
	}
	if err := ledger.Left(r.before, 20*time.Second); err != nil {
		r.t.Error(err)
	}
}
