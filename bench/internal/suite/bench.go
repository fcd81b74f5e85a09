// Package suite runs the benchmark's scenarios: every peer in every scenario. In each
// round, the peers take turns.
package suite

import (
	"fmt"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/peers"
	"github.com/nulijiabei/gcpool/bench/internal/report"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// Bench is one run of the benchmark.
type Bench struct {
	Peers  []peers.Spec
	Rounds int
	Window time.Duration // how long producers push a saturated load
	Quick  bool          // fewer connections where there are many
	Log    func(format string, args ...any)
}

// Scenario is one of the loads that the benchmark measures.
type Scenario struct {
	Name string
	Load string
	run  func(*Bench, *report.Scenario) error
}

// producers is how many goroutines push at once, for every peer. The peers are fastest with
// 8 to 32.
const producers = 16

// subject is the peer that the verdicts are about.
const subject = "gcpool"

// Run measures one scenario.
func (b *Bench) Run(s Scenario) (*report.Scenario, error) {
	r := &report.Scenario{Name: s.Name, Load: s.Load}
	began := time.Now()
	err := s.run(b, r)
	b.Log("%s took %.1f s", s.Name, time.Since(began).Seconds())
	if err != nil {
		return r, fmt.Errorf("%s: %w", s.Name, err)
	}
	return r, nil
}

// trial is one round of one peer. It returns a figure for each metric.
type trial func(s *session) ([]float64, error)

// plan says how to run a scenario's rounds.
type plan struct {
	users   int
	stall   int
	procs   int
	fresh   bool // each trial gets its own session, and connects the users
	halts   int  // after this many halts, a peer is not tried again; 0 is no limit
	rounds  int  // at most; 0 is no limit
	limits  bool // the limits take part
	with    bool // the libraries with gcpool take part, in addition to x/net
	batched bool // the peers that send only whole batches take part
	only    []string
	warm    server.Load // pushed once to each session, and not measured
	try     trial
}

// interleave runs the rounds, in which the peers take turns. It adds a row for each peer to
// each metric.
func (b *Bench) interleave(r *report.Scenario, p plan, metrics ...*report.Metric) {
	r.Metrics = append(r.Metrics, metrics...)
	all := b.entrants(p, metrics)
	defer func() {
		for _, e := range all {
			e.session.end()
		}
	}()
	if !p.fresh {
		for _, e := range all {
			e.note(e.open(p))
		}
	}
	rounds := b.Rounds
	if p.rounds > 0 {
		rounds = min(rounds, p.rounds)
	}
	for round := range rounds {
		for i := range all {
			// The order rotates, so that no peer always follows the same peer.
			e := all[(i+round)%len(all)]
			if e.rows[0].Failed == "" && (p.halts == 0 || e.halts < p.halts) {
				e.note(e.round(p))
			}
		}
	}
}

// entrant is one peer in a scenario.
type entrant struct {
	spec    peers.Spec
	session *session
	rows    []*report.Row // one for each metric
	halts   int           // rounds in which it came to a halt
	log     func(format string, args ...any)
}

// entrants returns the peers that take part.
func (b *Bench) entrants(p plan, metrics []*report.Metric) (all []*entrant) {
	for _, spec := range b.Peers {
		extra := spec.Library != "" && spec.Name != subject
		if spec.Limit && !p.limits || spec.Batched && !p.batched || extra && !p.with || !among(p.only, spec.Name) {
			continue
		}
		e := &entrant{spec: spec, log: b.Log}
		for _, m := range metrics {
			row := &report.Row{Name: spec.Name, Library: spec.Library, Limit: spec.Limit}
			m.Rows = append(m.Rows, row)
			e.rows = append(e.rows, row)
		}
		all = append(all, e)
	}
	return all
}

func among(only []string, name string) bool {
	for _, o := range only {
		if o == name {
			return true
		}
	}
	return len(only) == 0
}

// open starts the session that all rounds share.
func (e *entrant) open(p plan) (err error) {
	if e.session, err = start(e.spec, p.procs); err != nil {
		return err
	}
	if err = e.session.connect(p.users, p.stall); err != nil || p.warm.Size == 0 {
		return err
	}
	_, err = e.session.load(p.warm)
	return err
}

// round runs one trial and keeps its figures.
func (e *entrant) round(p plan) (err error) {
	if p.fresh {
		if e.session, err = start(e.spec, p.procs); err != nil {
			return err
		}
		defer func() {
			e.session.end()
			e.session = nil
		}()
	}
	values, err := p.try(e.session)
	if err != nil {
		return err
	}
	for i, v := range values {
		e.rows[i].Add(v)
	}
	if slices.Contains(values, 0) {
		e.halts++
	}
	return nil
}

// note records a failure: the peer leaves the scenario.
func (e *entrant) note(err error) {
	if err == nil {
		return
	}
	e.log("FAILED: %s: %v", e.spec.Name, err)
	for _, row := range e.rows {
		row.Failed = err.Error()
	}
	e.session.end()
	e.session = nil
}
