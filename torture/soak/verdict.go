package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// slack is how much more a process may hold at the end than at the beginning: bytes that the
// runtime, net/http and pools keep.
const slack = 16 << 20

// judge asks the ledgers, given the Stats after Shutdown, and checks the slopes.
func (r *record) judge(s *soak, stats []gcpool.Stats) {
	var sum ledger.Totals
	var written uint64
	for _, l := range s.lanes {
		final := l.of(stats)
		l.ledger.Final(final)
		if err := l.ledger.Check(); err != nil {
			r.breach("pool %s: %v", l.name, err)
		}
		t := l.ledger.Totals()
		if t.Received == 0 {
			r.breach("pool %s: no message was received", l.name)
		}
		add(&sum, t)
		written += final.Written
	}
	if text := s.complaint.Load(); text != nil {
		r.breach("net/http says: %s", *text)
	}
	r.breaches = append(r.breaches, slopes(r.series)...)
	took := time.Since(r.start)
	fmt.Fprintf(r.out, "%d messages accepted in %.1f s, %d written, %d received, %d undelivered: %s\n",
		sum.Accepted, took.Seconds(), written, sum.Received, sum.Undelivered, reasons(sum))
}

// slopes looks for growth. Without the beginning of the series, it compares the median of the
// first third with the median of the last third.
func slopes(series []point) (grown []string) {
	series = series[len(series)/5:]
	third := len(series) / 3
	if third < 3 {
		return nil // too short a series to show anything
	}
	for _, of := range []struct {
		name  string
		value func(p point) int
		slack int
	}{
		{"heap", func(p point) int { return p.heap }, slack},
		{"goroutines", func(p point) int { return p.goroutines }, 200},
		{"descriptors", func(p point) int { return p.descriptors }, 200},
	} {
		first := middle(series[:third], of.value)
		last := middle(series[len(series)-third:], of.value)
		if last > first+first/4+of.slack {
			grown = append(grown, fmt.Sprintf("%s grew from %d to %d", of.name, first, last))
		}
	}
	return grown
}

func middle(series []point, value func(p point) int) int {
	all := make([]int, len(series))
	for i, p := range series {
		all[i] = value(p)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// left returns what a soak has left behind and what does not end within d.
func left(before ledger.Resources, forgotten func(time.Duration) error, d time.Duration) (found []string) {
	if err := ledger.Left(before, d); err != nil {
		found = append(found, err.Error())
	}
	if err := forgotten(d); err != nil {
		found = append(found, err.Error())
	}
	end := time.Now().Add(d)
	for runtime.NumGoroutine() > before.Goroutines && time.Now().Before(end) {
		time.Sleep(5 * time.Millisecond)
	}
	runtime.GC() // twice, to empty each sync.Pool
	now := ledger.Measure(true)
	if now.Goroutines > before.Goroutines {
		found = append(found, fmt.Sprintf("%d goroutines are left, %d there were", now.Goroutines, before.Goroutines))
	}
	if now.Heap > before.Heap+slack {
		found = append(found, fmt.Sprintf("%d bytes of heap are left, %d there were", now.Heap, before.Heap))
	}
	return found
}
