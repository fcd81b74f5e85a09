package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// short returns the settings of a run that lasts d.
func short(conns int, d time.Duration) settings {
	return settings{conns: conns, length: d, seed: 1, ending: 10 * time.Second}
}

func TestSoak(t *testing.T) {
	var out bytes.Buffer
	breaches, err := soakFor(t.Context(), short(100, 3*time.Second), &out)
	if err != nil || len(breaches) > 0 {
		t.Errorf("%v; broken: %q\n%s", err, breaches, &out)
	}
	for _, want := range []string{"connections", "stalled", "messages/s", "undelivered", "heap", "goroutines", "descriptors"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// kept holds what a test keeps from being collected.
var kept any

// meddlings are faults, each with what the verdict must say about it.
var meddlings = []struct {
	want   string
	meddle func(t *testing.T, s *soak)
}{
	{"neither received nor reported", func(_ *testing.T, s *soak) {
		// This id has no connection: if a user's had been cut, as on a busy machine, the
		// verdict would excuse the loss.
		s.lanes[0].ledger.Stream(9, "nobody").Add(64, func([]byte) error { return nil })
	}},
	{"was reported and not accepted", func(_ *testing.T, s *soak) {
		s.lanes[1].stream.Add("nobody", ledger.Append(nil, ledger.Message{Producer: 9, Sequence: 1, ID: "nobody"}))
	}},
	{"no message was received", func(_ *testing.T, s *soak) { s.lanes[2].ledger = ledger.New() }},
	{"net/http says: http: panic", func(_ *testing.T, s *soak) { s.server.ErrorLog.Print("http: panic serving") }},
	{"Shutdown: context", func(_ *testing.T, s *soak) {
		s.goodbye = time.Millisecond // too short for stalled peers to answer the goodbye
	}},
	{"goroutines are left", func(t *testing.T, _ *soak) { go func() { <-t.Context().Done() }() }},
	{"descriptors are left", func(t *testing.T, _ *soak) {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}},
	{"bytes of heap are left", func(*testing.T, *soak) { kept = make([]byte, 4*slack) }},
	{"*gcpool.Pool is still referred to", func(_ *testing.T, s *soak) { kept = s.pool }},
	{"goroutines of the library are left", func(t *testing.T, _ *soak) {
		other := gcpool.NewPool()
		other.Register("other", gcpool.WithUndelivered(func(gcpool.Undelivered) { <-t.Context().Done() }))
		other.Start()
		other.GetStream("other").Add("nobody", nil)
		t.Cleanup(func() { other.Shutdown(context.Background()) })
	}},
}

func TestTheVerdictFindsWhatIsBroken(t *testing.T) {
	for _, test := range meddlings {
		t.Run(test.want, func(t *testing.T) {
			defer func() { kept = nil }()
			set := short(40, time.Second)
			set.ending = time.Second
			set.meddle = func(s *soak) { test.meddle(t, s) }
			var out bytes.Buffer
			breaches, err := soakFor(t.Context(), set, &out)
			if err != nil || !slices.ContainsFunc(breaches, func(b string) bool { return strings.Contains(b, test.want) }) {
				t.Errorf("%v; broken: %q\n%s", err, breaches, &out)
			}
		})
	}
}

func TestSlopes(t *testing.T) {
	line := func(from, to, n int) []point {
		var series []point
		for i := range n {
			v := from + (to-from)*i/n
			series = append(series, point{v << 20, v, v})
		}
		return series
	}
	for _, test := range []struct {
		series []point
		want   int
	}{
		{line(1000, 1000, 100), 0},
		{line(1000, 1100, 100), 0},
		{line(1000, 4000, 100), 3},
		{line(1000, 4000, 5), 0},
		{append(line(0, 1000, 20), line(1000, 1000, 80)...), 0}, // the beginning does not count
		{nil, 0},
	} {
		if got := slopes(test.series); len(got) != test.want {
			t.Errorf("%d points, to %v: %q, want %d", len(test.series), test.series[max(0, len(test.series)-1):], got, test.want)
		}
	}
}

func TestWrongFlags(t *testing.T) {
	for _, args := range []string{"-conns x", "-conns 0", "-conns -5", "-conns 10000000", "-for 0", "-for -1s", "-for 5", "-seed -1", "-nothing", "more"} {
		var out, errs bytes.Buffer
		code := run(t.Context(), strings.Fields(args), &out, &errs)
		if code != 2 || strings.Count(errs.String(), "\n") != 1 || out.Len() > 0 {
			t.Errorf("%s: code %d, %q, %q", args, code, &out, &errs)
		}
		if about := strings.Fields(args)[0]; !strings.Contains(errs.String(), about) {
			t.Errorf("%s: %q does not name it", args, &errs)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "-conns") || errs.Len() > 0 {
		t.Errorf("-h: code %d, %q, %q", code, &out, &errs)
	}
}

// interrupter is an output that calls stop after the first line of figures.
type interrupter struct {
	bytes.Buffer
	once sync.Once
	stop func()
}

func (i *interrupter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("messages/s")) {
		i.once.Do(i.stop)
	}
	return i.Buffer.Write(p)
}

func TestAnInterruptEndsItWithAVerdict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &interrupter{stop: cancel}
	var errs bytes.Buffer
	code := run(ctx, strings.Fields("-for 1h -conns 40 -seed 5"), out, &errs)
	if code != 0 || !strings.HasSuffix(out.String(), "verdict: nothing was broken\n") || errs.Len() > 0 {
		t.Errorf("code %d, %s%s", code, out, &errs)
	}
	if !strings.HasPrefix(out.String(), fmt.Sprintln("40 connections for 1h0m0s, seed 5")) {
		t.Errorf("%s", out)
	}
}
