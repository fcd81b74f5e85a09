package main

import (
	"context"
	"fmt"
	"io"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// look is how often the record samples the pool and the process's resources.
const look = 200 * time.Millisecond

// A record is what was observed during a soak.
type record struct {
	soak     *soak
	out      io.Writer
	start    time.Time
	series   []point
	breaches []string
}

// A point is what the process held at one moment.
type point struct {
	heap        int // bytes alive at the last collection, without the ledgers'
	goroutines  int
	descriptors int
}

func newRecord(s *soak, out io.Writer) *record { return &record{soak: s, out: out, start: time.Now()} }

func (r *record) breach(format string, args ...any) {
	r.breaches = append(r.breaches, fmt.Sprintf(format, args...))
}

// watch samples everything until ctx ends, and prints a line a second.
func (r *record) watch(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	last, printed := ledger.Totals{}, r.start
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, stats := r.look()
		if since := time.Since(printed); since >= time.Second-look/2 {
			r.line(now, stats, float64(now.Accepted-last.Accepted)/since.Seconds())
			last, printed = now, time.Now()
		}
	}
}

// look takes one sample.
func (r *record) look() (sum ledger.Totals, stats []gcpool.Stats) {
	stats = r.soak.pool.Stats()
	for _, l := range r.soak.lanes {
		l.ledger.Sample(l.of(stats), l.bounds)
		add(&sum, l.ledger.Totals())
	}
	held := ledger.Measure(false)
	r.series = append(r.series, point{alive() - sum.Kept, held.Goroutines, held.Descriptors})
	return sum, stats
}

// of returns the lane's own Stats.
func (l *lane) of(stats []gcpool.Stats) gcpool.Stats {
	return stats[slices.IndexFunc(stats, func(s gcpool.Stats) bool { return s.Name == l.name })]
}

func add(sum *ledger.Totals, t ledger.Totals) {
	sum.Accepted += t.Accepted
	sum.Received += t.Received
	sum.Undelivered += t.Undelivered
	sum.Unsure += t.Unsure
	sum.Kept += t.Kept
	for i, n := range t.Reasons {
		sum.Reasons[i] += n
	}
}

// alive returns how many bytes the last garbage collection left.
func alive() int {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}

// line prints the current figures.
func (r *record) line(t ledger.Totals, stats []gcpool.Stats, rate float64) {
	conns := 0
	for _, s := range stats {
		conns += s.Connections
	}
	held := r.series[len(r.series)-1]
	fmt.Fprintf(r.out, "%5.0fs  %5d connections, %d stalled  %8.0f messages/s  undelivered: %s  "+
		"heap %d MB + ledger %d MB  %d goroutines  %d descriptors\n", time.Since(r.start).Seconds(), conns,
		r.soak.stalled.Load(), rate, reasons(t), held.heap>>20, t.Kept>>20, held.goroutines, held.descriptors)
}

// reasons says why messages were not delivered.
func reasons(t ledger.Totals) string {
	return fmt.Sprintf("%d slow, %d deleted, %d expired, %d closed, %d not connected",
		t.Reasons[0], t.Reasons[1], t.Reasons[2], t.Reasons[3], t.Reasons[4])
}
