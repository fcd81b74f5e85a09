package server

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"github.com/nulijiabei/gcpool/bench/internal/payload"
	"github.com/nulijiabei/gcpool/bench/internal/peers"
)

// Load says what to push.
type Load struct {
	Users     int // as many as are connected
	Size      int // bytes of each payload
	Burst     int // messages in a row to each user
	Producers int // goroutines, each with its own users
	Window    time.Duration
	Passes    int           // each user gets Burst messages at most this often; 0 is no limit
	At        int64         // when to begin, on clock.Now; 0 is at once
	Rate      int           // messages a second, on schedule and from one goroutine; 0 is as fast as possible
	Stall     int           // with n, every nth user has stopped reading; 0 is none
	Patience  time.Duration // how long after the window a Push may hang
}

// Pushed is the result of a Push.
type Pushed struct {
	Start   int64 // on clock.Now
	CPU     int64 // of the process, at Start
	Count   int
	Healthy int  // to users that read
	Hung    bool // a Push has not returned, so the peer cannot be used any more
}

// producer pushes to its own share of the users, so that each user's messages have an
// order.
type producer struct {
	server         *Server
	load           Load
	first, step    int
	end            int64
	count, healthy atomic.Int64
	done           chan struct{}
	err            error
}

// tick is the interval of a schedule. All messages of a tick are due together.
const tick = 100 * time.Microsecond

// Push runs a load until its window is over.
func (s *Server) Push(l Load, r *Pushed) error {
	runtime.GC()
	if l.Rate > 0 {
		l.Producers = 1
	}
	r.Start, r.CPU = clock.Now(), clock.CPU()
	var all []*producer
	for i := range l.Producers {
		p := &producer{server: s, load: l, first: i, step: l.Producers,
			end: r.Start + int64(l.Window), done: make(chan struct{})}
		all = append(all, p)
		go p.run()
	}
	late := time.After(l.Window + l.Patience)
	var err error
	for _, p := range all {
		select {
		case <-p.done:
			err = errors.Join(err, p.err)
		case <-late:
			r.Hung = true
		}
		if r.Hung {
			break
		}
	}
	for _, p := range all {
		r.Count += int(p.count.Load())
		r.Healthy += int(p.healthy.Load())
	}
	if f, ok := s.peer.(peers.Flusher); ok && err == nil && !r.Hung {
		err = f.Flush()
	}
	return err
}

// Fill pushes messages to each user that has stopped reading, with a goroutine for each
// user. It waits until all messages are pushed, or have hung for too long. The clients do not
// check these messages.
func (s *Server) Fill(l Load, _ *struct{}) error {
	var wg sync.WaitGroup
	for user := l.Stall - 1; user < l.Users; user += l.Stall {
		wg.Go(func() {
			p := payload.New(l.Size)
			for range l.Burst {
				if s.peer.Push(user, p) != nil {
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(l.Patience):
	}
	return nil
}

// Broadcast sends one message to everyone.
func (s *Server) Broadcast(l Load, r *Pushed) error {
	p := payload.New(l.Size)
	payload.Stamp(p, payload.Everyone, s.next[0], 0)
	for user := range l.Users {
		s.next[user]++
	}
	runtime.GC()
	r.Start, r.CPU, r.Count = clock.Now(), clock.CPU(), l.Users
	return s.peer.Broadcast(p)
}

func (p *producer) run() {
	defer close(p.done)
	if p.load.Rate > 0 {
		p.err = p.onSchedule()
	} else {
		p.err = p.saturate()
	}
}

// saturate pushes round robin until the window is over.
func (p *producer) saturate() error {
	b := payload.New(p.load.Size)
	passes := 0
	for user := p.first; user < p.load.Users; user += p.step {
		for range p.load.Burst {
			if err := p.push(user, b, 0); err != nil {
				return err
			}
		}
		if (p.load.Burst > 1 || p.count.Load()%64 == 0) && clock.Now() >= p.end {
			return nil
		}
		if user+p.step >= p.load.Users {
			if passes++; passes == p.load.Passes {
				return nil
			}
			user = p.first - p.step
		}
	}
	return nil
}

// onSchedule pushes the messages of each tick, with the time at which they were due. A
// Push that waits makes later messages late, and their delay counts, so there is no
// coordinated omission.
func (p *producer) onSchedule() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	clock.Precise()
	b := payload.New(p.load.Size)
	interval := max(int64(tick), int64(time.Second)/int64(p.load.Rate))
	each := max(1, int(int64(p.load.Rate)*interval/int64(time.Second)))
	user, begin := 0, clock.Now() // on a busy machine the window may be over before it begins
	for due := begin + interval; due < begin+int64(p.load.Window); due += interval {
		clock.SleepUntil(due)
		for range each {
			if err := p.push(user, b, due); err != nil {
				return err
			}
			user = (user + 1) % p.load.Users
		}
	}
	return nil
}

func (p *producer) push(user int, b []byte, due int64) error {
	s := p.server
	payload.Stamp(b, user, s.next[user], due)
	stalled := p.load.Stall > 0 && user%p.load.Stall == p.load.Stall-1
	if err := s.peer.Push(user, b); err != nil && !stalled {
		return err
	}
	s.next[user]++
	p.count.Add(1)
	if !stalled {
		p.healthy.Add(1)
	}
	return nil
}
