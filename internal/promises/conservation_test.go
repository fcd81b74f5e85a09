package promises

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// ledger records the outcome of every message. A message consists of its producer, its id and
// its number there, padded to some length.
type ledger struct {
	mu          sync.Mutex
	accepted    map[[3]uint32]bool
	undelivered map[[3]uint32]error
	reports     int // how many have been noted in undelivered
	received    map[[3]uint32]bool
	spans       map[[3]uint32]span // what arrived over one connection, per producer, id and connection
	errs        []string
}

// span is the first and last number that arrived.
type span struct{ first, last uint32 }

func newLedger() *ledger {
	return &ledger{accepted: map[[3]uint32]bool{}, undelivered: map[[3]uint32]error{},
		received: map[[3]uint32]bool{}, spans: map[[3]uint32]span{}}
}

func (l *ledger) wrong(format string, args ...any) {
	if len(l.errs) < 20 {
		l.errs = append(l.errs, fmt.Sprintf(format, args...))
	}
}

func encode(m [3]uint32, size int) []byte {
	data := make([]byte, 16+size)
	for i, v := range m {
		binary.BigEndian.PutUint32(data[4*i:], v)
	}
	binary.BigEndian.PutUint32(data[12:], uint32(size))
	for i := range size {
		data[16+i] = byte(i) ^ byte(m[2])
	}
	return data
}

func decode(data []byte) (m [3]uint32, ok bool) {
	if len(data) < 16 {
		return m, false
	}
	for i := range m {
		m[i] = binary.BigEndian.Uint32(data[4*i:])
	}
	return m, string(data) == string(encode(m, int(binary.BigEndian.Uint32(data[12:]))))
}

func (l *ledger) hook(u gcpool.Undelivered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := decode(u.Data)
	if !ok || fmt.Sprint(m[1]) != u.ID {
		l.wrong("undelivered for %s is not what was sent: %.20x", u.ID, u.Data)
	}
	if l.undelivered[m] != nil {
		l.wrong("%v was reported twice", m)
	}
	l.undelivered[m] = u.Err
	l.reports++
}

func (l *ledger) receive(id, conn uint32, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := decode(data)
	key := [3]uint32{m[0], m[1], conn}
	came, again := l.spans[key]
	switch {
	case !ok || m[1] != id:
		l.wrong("%d received what was not sent to it: %.20x", id, data)
	case l.received[m]:
		l.wrong("%v was received twice", m)
	case m[2] < came.last:
		l.wrong("%v was received after %d", m, came.last)
	}
	l.received[m] = true
	if came.last = m[2]; !again {
		came.first = m[2]
	}
	l.spans[key] = came
}

// check compares all records at the end.
func (l *ledger) check(t *testing.T, s gcpool.Stats) {
	t.Helper()
	for m := range l.received {
		if !l.accepted[m] {
			l.wrong("%v was received and not accepted", m)
		}
		if err := l.undelivered[m]; err != nil {
			l.wrong("%v was received and reported with %v", m, err)
		}
	}
	for m := range l.undelivered {
		if !l.accepted[m] {
			l.wrong("%v was reported and not accepted", m)
		}
	}
	for a, one := range l.spans { // all messages from one connection are older, or all newer, than those from another
		for b, two := range l.spans {
			if a[0] == b[0] && a[1] == b[1] && a[2] < b[2] && one.first < two.last && two.first < one.last {
				l.wrong("producer %d, id %d: %v on one connection and %v on another", a[0], a[1], one, two)
			}
		}
	}
	if int(s.Accepted) != len(l.accepted) || int(s.Undelivered) != len(l.undelivered) || int(s.Written) < len(l.received) {
		l.wrong("%d accepted, %d reported, %d received: %+v", len(l.accepted), len(l.undelivered), len(l.received), s)
	}
	for _, err := range l.errs {
		t.Error(err)
	}
	t.Logf("%d accepted, %d written, %d received, %d undelivered", s.Accepted, s.Written, len(l.received), s.Undelivered)
}

// peers keeps ids connected, with connections that fail in various ways.
type peers struct {
	t      *testing.T
	conns  *gcpool.ConnPool
	addr   string
	ledger *ledger
	wg     sync.WaitGroup
	number atomic.Uint32 // of connections
	open   sync.Map      // all the peers' ends
}

// connect opens a new connection for id. It either reads until the connection fails, or resets
// it after a while, or never reads.
func (p *peers) connect(id uint32, r *rand.Rand) {
	var conn net.Conn
	if id%2 == 0 {
		conn = tcp(p.t, p.conns, fmt.Sprint(id))
	} else {
		ws, err := websocket.Dial(fmt.Sprint("ws://", p.addr, "/?id=", id), "", "http://"+p.addr)
		if err != nil {
			return
		}
		conn = ws
	}
	p.open.Store(conn, true)
	left := 1 << 30
	switch r.IntN(6) {
	case 0:
		left = r.IntN(300) // then it is closed while data is on the way
	case 1:
		return // never reads
	}
	number := p.number.Add(1)
	p.wg.Go(func() {
		defer conn.Close()
		in := bufio.NewReaderSize(conn, 8<<10)
		for ; left > 0; left-- {
			head, err := in.Peek(16)
			if err != nil {
				return
			}
			data := make([]byte, 16+binary.BigEndian.Uint32(head[12:])+1)
			if _, err := io.ReadFull(in, data); err != nil {
				return
			}
			p.ledger.receive(id, number, data[:len(data)-1])
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
	})
}

func TestConservation(t *testing.T) {
	t.Parallel()
	const ids, producers, reconnectors = 8, 4, 2
	for _, overflow := range []gcpool.Overflow{gcpool.Disconnect, gcpool.DropOldest, gcpool.DropNewest} {
		t.Run(fmt.Sprint("overflow", overflow), func(t *testing.T) {
			seed := time.Now().UnixNano()
			t.Log("seed", seed)
			l := newLedger()
			opts := []gcpool.Option{gcpool.WithUndelivered(l.hook), gcpool.WithOverflow(overflow),
				gcpool.WithOutbox(64 << 10), gcpool.WithWriteTimeout(time.Second)}
			if overflow == gcpool.DropOldest {
				opts = append(opts, gcpool.WithMailbox(500*time.Millisecond, 32<<10))
			}
			pool, conns, stream := started(t, opts...)
			p := &peers{t: t, conns: conns, ledger: l, addr: serve(t, map[gcpool.Overflow]wrapper{gcpool.Disconnect: gcpool.Upgrade}[overflow], verbatim(pool, func() {}))}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			for n := range producers {
				wg.Go(func() { produce(ctx, t, stream, l, uint32(n), ids, rand.New(rand.NewPCG(uint64(seed), uint64(n)))) })
			}
			for n := range reconnectors {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(seed), uint64(100+n)))
					for ctx.Err() == nil {
						id := uint32(r.IntN(ids))
						if r.IntN(10) == 0 {
							conns.Del(fmt.Sprint(id))
						} else {
							p.connect(id, r)
						}
						time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
					}
				})
			}
			wg.Wait()
			shutdown(pool, time.Second)
			// The pool does not close a connection whose handler came too late to Add it.
			p.open.Range(func(conn, _ any) bool {
				conn.(net.Conn).SetReadDeadline(time.Now().Add(5 * time.Second))
				return true
			})
			p.wg.Wait()
			p.open.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
			eventually(t, "the hook has caught up", func() bool { // Shutdown returns when its context ends
				s := pool.Stats()[0]
				l.mu.Lock()
				defer l.mu.Unlock()
				return s.Waiting == 0 && l.reports >= int(s.Undelivered)
			})
			l.mu.Lock()
			defer l.mu.Unlock()
			l.check(t, settled(t, pool))
		})
	}
}

// produce pushes with Add or with Deliver until ctx ends.
func produce(ctx context.Context, t *testing.T, stream *gcpool.StreamPool, l *ledger, producer uint32, ids int, r *rand.Rand) {
	var next [64]uint32
	var buf []byte
	for ctx.Err() == nil {
		id := uint32(r.IntN(ids))
		next[id]++
		m := [3]uint32{producer, id, next[id]}
		buf = append(buf[:0], encode(m, r.IntN(2000))...)
		l.mu.Lock()
		l.accepted[m] = true // before the peer can receive it
		l.mu.Unlock()
		if r.IntN(50) == 0 {
			if err := stream.Deliver(context.Background(), fmt.Sprint(id), buf); err != nil && err != gcpool.ErrKept {
				l.mu.Lock()
				l.undelivered[m] = err
				l.reports++
				l.mu.Unlock()
			}
			continue
		}
		if err := stream.AddContext(ctx, fmt.Sprint(id), buf); err != nil {
			l.mu.Lock()
			delete(l.accepted, m)
			l.mu.Unlock()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("AddContext: %v", err)
			}
		}
		clear(buf) // the caller may reuse buf
	}
}
