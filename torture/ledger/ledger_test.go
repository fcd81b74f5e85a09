package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// world is a library of our own that can be made to break each promise.
type world struct {
	*Ledger
	sent [][]byte
}

func newWorld() *world { return &world{Ledger: New()} }

// send accepts n messages of producer 1 to id.
func (w *world) send(id string, n int) {
	for range n {
		w.Stream(1, id).Add(100, w.take)
	}
}

func (w *world) take(data []byte) error {
	w.sent = append(w.sent, slices.Clone(data))
	return nil
}

func (w *world) connect(id string) *Conn {
	c, _ := w.Connect(id, func(*Conn) error { return nil })
	return c
}

func (w *world) report(i int, err error) {
	m, _ := Decode(w.sent[i])
	w.Undelivered(gcpool.Undelivered{ID: m.ID, Data: slices.Clone(w.sent[i]), Err: err})
}

// breaches are worlds that break one promise each, with what the ledger must say about it.
var breaches = []struct {
	name, want string
	breach     func(w *world)
}{
	{"no outcome", "neither received nor reported", func(w *world) {
		c := w.connect("a")
		w.send("a", 2)
		c.Receive(w.sent[0])
		c.End(true)
	}},
	{"unsure twice", "not accepted, or reported twice", func(w *world) {
		c := w.connect("a")
		w.send("a", 1)
		for range 2 {
			w.Unsure(gcpool.Undelivered{ID: "a", Data: slices.Clone(w.sent[0])})
		}
		c.End(true)
	}},
	{"no outcome in the middle of a cut connection", "neither received nor reported", func(w *world) {
		c := w.connect("a")
		w.send("a", 3)
		c.Receive(w.sent[0])
		c.Receive(w.sent[2])
		c.End(false)
	}},
	{"no outcome between whole connections", "neither received nor reported", func(w *world) {
		c := w.connect("a")
		w.send("a", 3)
		c.Receive(w.sent[0])
		c.End(true)
		c = w.connect("a")
		c.Receive(w.sent[2])
		c.End(false)
	}},
	{"no outcome without a connection", "neither received nor reported", func(w *world) { w.send("a", 1) }},
	{"two reports", "reported twice", func(w *world) {
		w.send("a", 1)
		w.report(0, gcpool.ErrSlow)
		w.report(0, gcpool.ErrSlow)
	}},
	{"a report without a reason", "none of the reasons", func(w *world) {
		w.send("a", 1)
		w.report(0, errors.New("no idea"))
	}},
	{"a report of other bytes", "not what was sent", func(w *world) {
		w.send("a", 1)
		w.sent[0][90]++
		w.report(0, gcpool.ErrSlow)
	}},
	{"a report for another id", "not what was sent", func(w *world) {
		w.send("a", 1)
		w.Undelivered(gcpool.Undelivered{ID: "b", Data: w.sent[0], Err: gcpool.ErrSlow})
	}},
	{"a report of nothing", "reported and not accepted", func(w *world) {
		w.Undelivered(gcpool.Undelivered{ID: "a", Data: Append(nil, Message{1, 0, 1, "a", 50}), Err: gcpool.ErrSlow})
	}},
	{"received, then reported", "received and reported", func(w *world) {
		c := w.connect("a")
		w.send("a", 1)
		c.Receive(w.sent[0])
		w.report(0, gcpool.ErrSlow)
	}},
	{"reported, then received", "reported and received", func(w *world) {
		c := w.connect("a")
		w.send("a", 1)
		w.report(0, gcpool.ErrSlow)
		c.Receive(w.sent[0])
	}},
	{"received twice", "received twice", func(w *world) {
		c := w.connect("a")
		w.send("a", 1)
		c.Receive(w.sent[0])
		w.connect("a").Receive(w.sent[0])
	}},
	{"received and not accepted", "not accepted", func(w *world) {
		w.connect("a").Receive(Append(nil, Message{1, 0, 7, "a", 50}))
	}},
	{"received and refused", "refused", func(w *world) {
		c := w.connect("a")
		w.Stream(1, "a").Add(50, func(data []byte) error { c.Receive(data); return gcpool.ErrClosed })
	}},
	{"out of order", "received after", func(w *world) {
		c := w.connect("a")
		w.send("a", 2)
		c.Receive(w.sent[1])
		c.Receive(w.sent[0])
	}},
	{"out of order, from an older connection", "on the one before", func(w *world) {
		w.send("a", 2)
		w.connect("a").Receive(w.sent[1])
		w.connect("a").Receive(w.sent[0])
	}},
	{"out of order, across connections", "on the one after", func(w *world) {
		w.send("a", 2)
		c, next := w.connect("a"), w.connect("a")
		next.Receive(w.sent[0])
		c.Receive(w.sent[1])
	}},
	{"another id's", "received message", func(w *world) {
		w.send("a", 1)
		w.connect("b").Receive(w.sent[0])
	}},
	{"an older generation's", "and received on", func(w *world) {
		old := w.connect("a")
		w.connect("a")
		w.send("a", 1)
		old.Receive(w.sent[0])
	}},
	{"other bytes", "wrong checksum", func(w *world) {
		c := w.connect("a")
		w.send("a", 1)
		w.sent[0][50]++
		c.Receive(w.sent[0])
	}},
	{"fewer bytes", "instead of", func(w *world) {
		c := w.connect("a")
		w.send("a", 1)
		c.Receive(w.sent[0][:60])
	}},
	{"torn and not reported", "torn on connection", func(w *world) {
		c := w.connect("a")
		w.send("a", 1)
		c.Torn(w.sent[0][:60])
		c.End(true)
		w.connect("a").End(true)
	}},
	{"torn, and sent again on none", "torn on connection", func(w *world) {
		c := w.connect("a")
		w.send("a", 2)
		c.Torn(w.sent[0][:60])
		c.End(true)
		w.connect("a").Receive(w.sent[1])
		w.connect("a").End(false)
	}},
	{"torn, and come before", "torn on connection", func(w *world) {
		first := w.connect("a")
		w.send("a", 1)
		first.Receive(w.sent[0])
		first.End(true)
		second := w.connect("a")
		second.Torn(w.sent[0][:60])
		second.End(true)
		w.connect("a")
	}},
	{"a part of another id's", "a part of what", func(w *world) {
		w.send("a", 1)
		w.connect("b").Torn(w.sent[0][:60])
	}},
	{"written, says Deliver, and reported", "says Deliver", func(w *world) {
		w.Stream(1, "a").Deliver(100, w.take)
		w.report(0, gcpool.ErrSlow)
	}},
	{"Deliver's outcome told to the hook as well", "reported twice", func(w *world) {
		w.Stream(1, "a").Deliver(100, func(data []byte) error { w.take(data); return gcpool.ErrSlow })
		w.report(0, gcpool.ErrSlow)
	}},
	{"reported before Deliver's outcome", "and Deliver says", func(w *world) {
		w.Stream(1, "a").Deliver(100, func(data []byte) error {
			w.take(data)
			w.report(0, gcpool.ErrSlow)
			return gcpool.ErrSlow
		})
	}},
	{"kept, says Deliver, received, and reported", "reported and received", func(w *world) {
		c := w.connect("a")
		w.Stream(1, "a").Deliver(100, func(data []byte) error { w.take(data); return gcpool.ErrKept })
		w.report(0, gcpool.ErrExpired)
		c.Receive(w.sent[0])
	}},
	{"reported, and written says Deliver", "and written, says Deliver", func(w *world) {
		w.Stream(1, "a").Deliver(100, func(data []byte) error {
			w.take(data)
			w.report(0, gcpool.ErrSlow)
			return nil
		})
	}},
}

func TestEachBreachIsFound(t *testing.T) {
	for _, test := range breaches {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld()
			test.breach(w)
			expect(t, w.Check(), test.want)
		})
	}
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("found %v, want %q", err, want)
	}
}

func TestWhatIsAllowedIsNoBreach(t *testing.T) {
	w := newWorld()
	first := w.connect("a")
	w.send("a", 8)
	first.Receive(w.sent[0])
	w.report(2, gcpool.ErrSlow) // message 1 was written, and lost with the cut
	first.End(false)
	second := w.connect("a")
	second.Receive(w.sent[3])
	second.Torn(w.sent[4][:50])
	w.report(4, fmt.Errorf("%w: %w", gcpool.ErrNotConnected, net.ErrClosed))
	second.End(true)
	w.report(5, gcpool.ErrDeleted)
	third := w.connect("a")
	third.Receive(w.sent[6])
	third.Receive(w.sent[7])
	w.Stream(1, "a").Deliver(40, func([]byte) error { return context.Canceled })
	w.Stream(1, "a").Deliver(40, func([]byte) error { return gcpool.ErrClosed })
	w.Stream(1, "a").Add(40, func([]byte) error { return gcpool.ErrTooLarge })
	w.Stream(1, "a").Deliver(40, func(data []byte) error { w.take(data); return gcpool.ErrKept })
	w.report(8, gcpool.ErrExpired)
	third.End(true)
	if err := w.Check(); err != nil {
		t.Error(err)
	}
	got := w.Totals()
	if got.Accepted != 9 || got.Received != 4 || got.Undelivered != 4 || got.Unsure != 2 {
		t.Errorf("%+v", got)
	}
	w.Final(gcpool.Stats{Accepted: 10, Written: 5, Undelivered: 5, Slow: 1, Deleted: 1, NotConnected: 1, Closed: 1, Expired: 1})
	if err := w.Err(); err != nil {
		t.Error(err)
	}
}

// TestATornMessageMayComeAgain: a torn message may come whole on a later connection.
func TestATornMessageMayComeAgain(t *testing.T) {
	w := newWorld()
	w.send("a", 3)
	first := w.connect("a")
	first.Receive(w.sent[0])
	first.Torn(w.sent[1][:60])
	first.End(true)
	second := w.connect("a")
	second.Receive(w.sent[1])
	second.Receive(w.sent[2])
	second.End(true)
	if err := w.Check(); err != nil {
		t.Error(err)
	}
}

// TestATornMessageMayBeLost: a torn message may be sent again and
// lost with a connection that was cut.
func TestATornMessageMayBeLost(t *testing.T) {
	w := newWorld()
	w.send("a", 2)
	first := w.connect("a")
	first.Torn(w.sent[0][:60])
	first.End(true)
	w.connect("a").End(false)
	third := w.connect("a")
	third.Receive(w.sent[1])
	third.End(true)
	if err := w.Check(); err != nil {
		t.Error(err)
	}
}

func TestStatsThatDoNotAddUpAreFound(t *testing.T) {
	for want, s := range map[string]gcpool.Stats{
		"do not add up: {":            {Accepted: 3, Written: 1},
		"the reasons do not add up":   {Accepted: 1, Undelivered: 1},
		"connections do not add up":   {Joins: 1},
		"2 connections of 1 ids":      {Joins: 2, Connections: 2},
		"101 bytes wait, of 100":      {Accepted: 1, Waiting: 1, WaitingBytes: 101},
		"Stats do not add up: {Name:": {Waiting: -1},
	} {
		l := New()
		l.Sample(s, Bounds{Connections: 1, Bytes: 100})
		expect(t, l.Err(), want)
	}
	l := New()
	l.Sample(gcpool.Stats{Accepted: 2, Written: 2}, Bounds{})
	l.Sample(gcpool.Stats{Accepted: 1, Written: 1}, Bounds{})
	expect(t, l.Err(), "Stats went back")
	for want, s := range map[string]gcpool.Stats{
		"messages wait":            {Accepted: 4, Written: 1, Waiting: 1, Undelivered: 2, Slow: 1, Closed: 1},
		"(and 0) were accepted":    {Accepted: 5, Written: 3, Undelivered: 2, Slow: 1, Closed: 1},
		"(and 0) were reported":    {Accepted: 4, Written: 3, Undelivered: 1, Slow: 1},
		"2 were received":          {Accepted: 4, Written: 1, Undelivered: 3, Slow: 2, Closed: 1},
		"1 reports say gcpool: po": {Accepted: 4, Written: 2, Undelivered: 2, Slow: 2},
	} {
		w := newWorld()
		c := w.connect("a")
		w.send("a", 4)
		c.Receive(w.sent[0])
		c.Receive(w.sent[1])
		w.report(2, gcpool.ErrSlow)
		w.report(3, gcpool.ErrClosed)
		w.Final(s)
		expect(t, w.Err(), want)
	}
}

func TestLeaksAreFound(t *testing.T) {
	before := Measure(false)
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if before.Descriptors >= 0 {
		expect(t, Left(before, 0), "descriptors are left")
	}
	f.Close()
	pool, hold := gcpool.NewPool(), make(chan bool)
	pool.Register("a", gcpool.WithUndelivered(func(gcpool.Undelivered) { <-hold }))
	pool.Start()
	pool.GetStream("a").Add("nobody", nil)
	expect(t, Left(before, 50*time.Millisecond), "goroutines of the library")
	close(hold)
	conns := pool.GetConn("a")
	forgotten := Forgotten(conns)
	expect(t, forgotten(0), "still referred to")
	pool.Shutdown(t.Context())
	if conns.Len() != 0 { // the last reference to the connections
		t.Error("a connection from nowhere")
	}
	conns, pool = nil, nil
	if err := Left(before, 10*time.Second); err != nil {
		t.Error(err)
	}
	if err := forgotten(10 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestSetAgainstAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s set
		m := map[uint64]bool{}
		for range r.IntN(200) {
			n := 1 + r.Uint64N(100)
			if s.add(n) == m[n] {
				t.Fatalf("add %d to %v", n, s)
			}
			m[n] = true
		}
		lost := 0
		for _, g := range gaps(1, 100, s) {
			lost += int(g.last - g.first + 1)
		}
		for n := range uint64(101) {
			if s.has(n) != m[n] {
				t.Fatalf("%d in %v", n, s)
			}
		}
		if int(s.size()) != len(m) || lost != 100-len(m) {
			t.Fatalf("%v holds %d, want %d; %d are missing", s, s.size(), len(m), lost)
		}
	}
}
