package suite

import (
	"fmt"

	"github.com/nulijiabei/gcpool/bench/internal/report"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// bareNATS is the row of NATS without gcpool.
const bareNATS = "nats"

// cluster measures messages from one node to another, and compares them with NATS alone.
// The NATS server has its own process; both nodes share another.
func (b *Bench) cluster(r *report.Scenario) error {
	if !b.has(subject) {
		return nil
	}
	var at server.Started
	daemon, err := spawn(serverRole, 0)
	if err != nil {
		return err
	}
	defer daemon.end()
	if err := daemon.call("NATS", *nothing, &at); err != nil {
		return err
	}
	metrics := []*report.Metric{perSecond(), {Name: "p50 there and back", Unit: "µs"}, {Name: "p99 there and back", Unit: "µs"}}
	r.Metrics = metrics
	for round := range b.Rounds {
		for i := range 2 {
			c := server.Carry{Addr: at.Addr, Bare: (i+round)%2 == 0,
				Load: server.Load{Size: 64, Users: 1000, Producers: producers, Window: 2 * b.Window}}
			name := subject
			if c.Bare {
				name, c.Producers = bareNATS, 1 // NATS alone is fastest with one
			}
			var o server.Carried
			if err := local("Carry", c, &o); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for j, v := range []float64{o.Rate, float64(o.P50) / 1e3, float64(o.P99) / 1e3} {
				row(metrics[j], name).Add(v)
			}
		}
	}
	versus(r, metrics[0], bareNATS, 0.7, "at least 0.7x bare publish/subscribe, with outcomes")
	versus(r, metrics[1], bareNATS, 1.3, "p50 at most 1.3x bare request/reply")
	return b.joined(r, at.Addr)
}

// joined measures the cost of ids for a node.
func (b *Bench) joined(r *report.Scenario, addr string) error {
	seconds, bytes := &report.Metric{Name: "ids joined", Unit: "s"}, &report.Metric{Name: "memory/id", Unit: "B"}
	r.Metrics = append(r.Metrics, seconds, bytes)
	n := b.fewer(100_000)
	name := fmt.Sprintf("%d ids", n)
	for range b.Rounds {
		var cost server.Joined
		if err := local("Join", server.Carry{Addr: addr, Load: server.Load{Users: n}}, &cost); err != nil {
			return err
		}
		row(seconds, name).Add(cost.Seconds)
		row(bytes, name).Add(cost.Bytes)
	}
	s, each := seconds.Rows[0].Median, bytes.Rows[0].Median
	r.Verdicts = append(r.Verdicts,
		report.Verdict{Target: name + " joined in under 5 s", Measured: fmt.Sprintf("Measured %.2f s", s), Met: s < 5},
		report.Verdict{Target: "at most 1,536 B an id", Measured: fmt.Sprintf("Measured %.0f B", each), Met: each <= 1536})
	return nil
}
