package suite

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/client"
	"github.com/nulijiabei/gcpool/bench/internal/report"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// everyTenth user stops reading in the scenario stalled.
const everyTenth = 10

// stalled measures the users that read, before and after others have stopped. Before the
// second measurement it fills the queues of the users that have stopped, so that it
// measures the lasting state.
func (b *Bench) stalled(r *report.Scenario) error {
	metrics := []*report.Metric{
		{Name: "messages/s", Higher: true},
		{Name: "with stalled", Unit: "/s", Higher: true},
		{Name: "p99", Unit: "µs"},
		{Name: "p99 with stalled", Unit: "µs"},
	}
	users := b.fewer(1000)
	saturate := b.flood(users, 64, 1)
	schedule := server.Load{Size: 64, Rate: 50_000, Window: b.Window}
	p := plan{fresh: true, halts: 2}
	if b.Quick { // a peer that halts takes a long time
		p.only = []string{subject, "original", "gws", "centrifuge"}
	}
	p.try = func(s *session) (values []float64, err error) {
		values = make([]float64, 4)
		if err = s.connect(users, everyTenth); err == nil {
			err = s.stalledTrial(saturate, schedule, values)
		}
		if errors.Is(err, errHalted) {
			err = nil
		}
		return values, err
	}
	b.interleave(r, p, metrics...)
	b.judgeStalled(r, metrics)
	return nil
}

// stalledTrial sets the four values of a trial, or fewer if the peer halts.
func (s *session) stalledTrial(saturate, schedule server.Load, values []float64) error {
	for i, stalled := range []bool{false, true} {
		if stalled {
			if err := s.stallAll(); err != nil {
				return err
			}
		}
		o, err := s.healthy(schedule, stalled)
		if err != nil {
			return err
		}
		values[2+i] = micro(o.arrived.P99)
		if o, err = s.healthy(saturate, stalled); err != nil {
			return err
		}
		values[i] = o.rate()
	}
	return nil
}

// errHalted means that a peer has halted: its remaining figures are 0.
var errHalted = errors.New("a Push has not returned")

// stallAll makes every tenth user stop reading, and fills the queues of these users.
func (s *session) stallAll() error {
	if err := s.client.call("Stall", *nothing, nothing); err != nil {
		return err
	}
	// gcpool and most peers queue less than 1.5 MiB for a user, and react to a full queue within
	// 2 s.
	fill := server.Load{Users: s.users, Stall: s.stall, Size: 1 << 10, Burst: 1500, Patience: 2 * time.Second}
	return s.server.call("Fill", fill, nothing)
}

// healthy runs a load. If some users do not read, it waits only for the others.
func (s *session) healthy(l server.Load, stalled bool) (o outcome, err error) {
	l.Users, l.Patience = s.users, 20*time.Second
	if stalled {
		l.Stall, l.Patience = s.stall, 2*time.Second
	}
	p := client.Prepare{Size: l.Size, Latency: l.Rate > 0, Rest: l.Rate == 0}
	if err = s.client.call("Prepare", p, nothing); err != nil {
		return o, err
	}
	if err = s.server.call("Push", l, &o.pushed); err != nil {
		return o, s.why(err)
	}
	if o.pushed.Hung {
		return o, errHalted
	}
	f := client.Finish{Total: o.pushed.Healthy, Healthy: stalled, Patience: 3 * time.Second}
	if err = s.client.call("Finish", f, &o.arrived); err == nil && o.arrived.Fault != "" {
		err = errors.New(o.arrived.Fault)
	}
	return o, err
}

// judgeStalled compares each peer's figures before and after users stop reading. A peer that
// keeps its figures is also compared with the subject.
func (b *Bench) judgeStalled(r *report.Scenario, m []*report.Metric) {
	us := m[0].Row(subject)
	var others []string
	for _, row := range m[0].Rows {
		rate := report.Verdict{Target: "healthy throughput at least 0.9x of its own without stalled peers"}
		late := report.Verdict{Target: "healthy p99 at most 2x of its own without stalled peers"}
		against(&rate, m[1].Row(row.Name), row, 0.9, true, "")
		against(&late, m[3].Row(row.Name), m[2].Row(row.Name), 2, false, "")
		if halts := halted(m[1].Row(row.Name)); halts > 0 {
			rate.Met, late.Met = false, false
			rate.Measured = fmt.Sprintf("It came to a halt in %d of %d rounds", halts, len(row.Values))
			late.Measured = rate.Measured
		}
		switch {
		case row == us:
			r.Verdicts = append(r.Verdicts, rate, late)
		case rate.Met && late.Met && us != nil:
			faster := m[1].Row(row.Name).Median / m[1].Row(subject).Median
			later := m[3].Row(row.Name).Median / m[3].Row(subject).Median
			others = append(others, fmt.Sprintf("%s keeps both as well, at %.2fx the throughput and %.1fx the p99;", row.Name, faster, later))
		}
	}
	if us != nil && len(m[0].Rows) > 1 {
		r.Verdicts = append(r.Verdicts, report.Verdict{Target: "no peer matches both", Met: len(others) == 0,
			Measured: strings.Join(append(others, "The others are halted or slowed by stalled peers"), " ")})
	}
}

// halted counts the rounds in which the peer halted.
func halted(r *report.Row) (n int) {
	for _, v := range r.Values {
		if v <= 0 {
			n++
		}
	}
	return n
}
