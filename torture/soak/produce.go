package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

const (
	producers = 2                    // in each lane, besides the one that delivers
	burst     = 250                  // messages at most
	waits     = 5 * time.Millisecond // for room at most
	shuns     = 2 * time.Second      // how long to leave an id without room alone
)

// A producer pushes to the users of a lane, in bursts.
type producer struct {
	lane    *lane
	rnd     *rand.Rand
	targets []*target
	ctx     context.Context // of the messages; for a Deliver, the soak's
	cancel  context.CancelFunc
}

// A target is a producer's record of a user.
type target struct {
	stream *ledger.Stream
	push   func(data []byte) error
	shun   time.Time // leave the user alone until then
}

// produce starts the producers, which end with ctx.
func (s *soak) produce(ctx context.Context) {
	for i, l := range s.lanes {
		for n := range producers {
			p := newProducer(l, uint32(n), s.seed+uint64(i))
			s.producing.Go(func() { p.push(ctx) })
		}
		p := newProducer(l, producers, s.seed+uint64(i))
		for i, t := range p.targets {
			id := l.users[i].id
			t.push = func(data []byte) error { return l.stream.Deliver(p.ctx, id, data) }
		}
		s.producing.Go(func() { p.deliver(ctx) })
	}
}

func newProducer(l *lane, number uint32, seed uint64) *producer {
	p := &producer{lane: l, rnd: rand.New(rand.NewPCG(seed, uint64(number)))}
	for _, u := range l.users {
		p.targets = append(p.targets, &target{stream: l.ledger.Stream(number, u.id),
			push: func(data []byte) error { return l.stream.AddContext(p.ctx, u.id, data) }})
	}
	return p
}

// push goes from user to user, to some far more often than to others, so that their outboxes
// fill up when they stop reading. It leaves an id whose outbox is full alone for a moment,
// because the producer must go on. It yields after each burst; otherwise the scheduler would
// make all others, including the peers, wait for seconds.
func (p *producer) push(ctx context.Context) {
	p.renew(ctx)
	defer func() { p.cancel() }()
	for ctx.Err() == nil {
		runtime.Gosched()
		now := time.Now()
		f := p.rnd.Float64()
		t := p.targets[int(f*f*f*float64(len(p.targets)))]
		if now.Before(t.shun) {
			continue
		}
		for range 1 + p.rnd.IntN(burst) {
			err := t.stream.Add(p.size(), t.push)
			if err == nil {
				continue
			}
			p.expect(err)
			p.renew(ctx)
			if time.Since(now) >= waits {
				t.shun = now.Add(shuns)
				break
			}
		}
	}
}

// deliver pushes one message at a time and waits for its outcome.
func (p *producer) deliver(ctx context.Context) {
	for ctx.Err() == nil {
		p.renew(ctx)
		t := p.targets[p.rnd.IntN(len(p.targets))]
		if err := t.stream.Deliver(p.size(), t.push); err != nil {
			p.expect(err)
		}
		p.cancel()
	}
}

// renew gives p's messages a new deadline.
func (p *producer) renew(ctx context.Context) {
	if p.cancel != nil {
		p.cancel()
	}
	p.ctx, p.cancel = context.WithTimeout(ctx, waits)
}

// size returns the size of the next message; most are small.
func (p *producer) size() int {
	if p.rnd.IntN(256) == 0 {
		return 64 + p.rnd.IntN(largest-64)
	}
	return 48 + p.rnd.IntN(64)
}

// expect checks the error of a push.
func (p *producer) expect(err error) {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
	case errors.Is(err, gcpool.ErrSlow), errors.Is(err, gcpool.ErrDeleted), errors.Is(err, gcpool.ErrExpired),
		errors.Is(err, gcpool.ErrNotConnected), errors.Is(err, gcpool.ErrKept): // only Deliver returns these
	default:
		p.lane.ledger.Breach("a push failed: %v", err)
	}
}
