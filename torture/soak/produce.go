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
	producers = 2                    // of each lane, besides the one who delivers
	burst     = 250                  // messages, at most
	waits     = 5 * time.Millisecond // for room, at most
	shuns     = 2 * time.Second      // an id without room
)

// A producer pushes to the users of a lane, in bursts.
type producer struct {
	lane    *lane
	rnd     *rand.Rand
	targets []*target
	ctx     context.Context // of the messages; the soak's while it is Deliver
	cancel  context.CancelFunc
}

// A target is a producer's way to a user.
type target struct {
	stream *ledger.Stream
	push   func(data []byte) error
	shun   time.Time // until then
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

// push goes from user to user, to some far more often than to others, so that
// their outboxes fill up when they stop reading. An id whose outbox is full is left alone for a
// moment, as the producer must go on. It gives way after each burst: else the
// scheduler would have everybody else wait for seconds, the peers among them.
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

// deliver pushes a message at a time and waits for what becomes of it.
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

// renew gives p's messages time from now on.
func (p *producer) renew(ctx context.Context) {
	if p.cancel != nil {
		p.cancel()
	}
	p.ctx, p.cancel = context.WithTimeout(ctx, waits)
}

// size is that of the next message: most are small.
func (p *producer) size() int {
	if p.rnd.IntN(256) == 0 {
		return 64 + p.rnd.IntN(largest-64)
	}
	return 48 + p.rnd.IntN(64)
}

// expect judges an error of a push.
func (p *producer) expect(err error) {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
	case errors.Is(err, gcpool.ErrSlow), errors.Is(err, gcpool.ErrDeleted), errors.Is(err, gcpool.ErrExpired),
		errors.Is(err, gcpool.ErrNotConnected), errors.Is(err, gcpool.ErrKept): // Deliver's
	default:
		p.lane.ledger.Breach("a push failed: %v", err)
	}
}
