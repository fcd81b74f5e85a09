package suite

import (
	"fmt"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/report"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// idle measures the cost of a connection that has nothing to do. The connection has received one
// message, as most idle connections have. Rounds differ by less than 1 %, so two are enough.
func (b *Bench) idle(r *report.Scenario) error {
	users := b.fewer(9000)
	each := &report.Metric{Name: "heap + stacks/connection", Unit: "B"}
	b.interleave(r, plan{fresh: true, rounds: 2, limits: true, with: true, try: func(s *session) ([]float64, error) {
		var before, after server.Usage
		err := s.server.call("Weigh", *nothing, &before)
		if err == nil {
			err = s.connect(users, 0)
		}
		if err == nil {
			_, err = s.load(server.Load{Size: 64, Burst: 1, Passes: 1, Producers: producers, Window: time.Minute})
		}
		time.Sleep(b.Window) // some memory is released only after a while
		if err == nil {
			err = s.server.call("Weigh", *nothing, &after)
		}
		return []float64{float64(after.Memory-before.Memory) / float64(users)}, err
	}}, each)
	best(r, each, 1, "at most the best peer's")
	versus(r, each, "xnet", 0.4, "at most 0.4x plain x/net")
	itself(r, each, 1, "at most what %s takes alone")
	return nil
}

// local runs a measurement without clients, in a process of its own.
func local(method string, args, reply any) error {
	c, err := spawn(serverRole, 0)
	if err != nil {
		return err
	}
	defer c.end()
	return c.call(method, args, reply)
}

// registry measures gcpool's own map of ids.
func (b *Bench) registry(r *report.Scenario) error {
	if !b.has(subject) {
		return nil
	}
	metrics := []*report.Metric{
		{Name: "Add", Unit: "ns"}, {Name: "lookup", Unit: "ns"}, {Name: "Del", Unit: "ns"}, {Name: "memory/id", Unit: "B"},
		{Name: "bare map's lookup", Unit: "ns"},
	}
	r.Metrics = metrics
	sizes := []int{1000, b.fewer(1_000_000)}
	for range b.Rounds {
		for _, n := range sizes {
			var cost server.Registered
			if err := local("Registry", n, &cost); err != nil {
				return err
			}
			for i, v := range []float64{cost.Add, cost.Get, cost.Del, cost.Bytes, cost.Map} {
				row(metrics[i], fmt.Sprintf("%d ids", n)).Add(v)
			}
		}
	}
	for _, m := range metrics[:3] {
		v := report.Verdict{Target: fmt.Sprintf("%s at %d ids at most 2x its cost at 1,000", m.Name, sizes[1])}
		against(&v, m.Rows[1], m.Rows[0], 2, false, "")
		r.Verdicts = append(r.Verdicts, v)
	}
	bytes := metrics[3].Rows[1].Median
	r.Verdicts = append(r.Verdicts, report.Verdict{Target: "at most 400 B an id",
		Measured: fmt.Sprintf("Measured %.0f B", bytes), Met: bytes <= 400})
	return nil
}

// add measures StreamPool.Add alone, and compares it with a channel.
func (b *Bench) add(r *report.Scenario) error {
	if !b.has(subject) {
		return nil
	}
	metrics := []*report.Metric{
		{Name: "Add", Unit: "ns"}, {Name: "channel send", Unit: "ns"}, {Name: "allocations/Add"},
		{Name: "Add, scraped", Unit: "ns"}, {Name: "sampling/Add", Unit: "ns"},
	}
	r.Metrics = metrics
	for range b.Rounds {
		for _, n := range []int{1, 4, 16} {
			var cost server.Added
			if err := local("Add", server.Load{Producers: n, Users: 1000, Size: 64, Window: b.Window / 2}, &cost); err != nil {
				return err
			}
			for i, v := range []float64{cost.Add, cost.Send, cost.Allocations, cost.Scraped, cost.Sampling} {
				row(metrics[i], fmt.Sprintf("%d producers", n)).Add(v)
			}
		}
	}
	for i, us := range metrics[0].Rows {
		v := report.Verdict{Target: "at most 3x a channel send, " + us.Name}
		against(&v, us, metrics[1].Rows[i], 3, false, "")
		allocations := metrics[2].Rows[i].Median
		r.Verdicts = append(r.Verdicts, v, report.Verdict{Target: "0 allocations, " + us.Name,
			Measured: fmt.Sprintf("Measured %.4f an Add", allocations), Met: allocations < 0.01})
		v = report.Verdict{Target: "metrics cost nothing: at most 1.05x while scraped every 100 ms, " + us.Name}
		against(&v, metrics[3].Rows[i], us, 1.05, false, "")
		r.Verdicts = append(r.Verdicts, v)
	}
	return nil
}

func (b *Bench) has(name string) bool {
	for _, p := range b.Peers {
		if p.Name == name {
			return true
		}
	}
	return false
}

// row returns the row of that name, and makes it if there is none.
func row(m *report.Metric, name string) *report.Row {
	if r := m.Row(name); r != nil {
		return r
	}
	m.Rows = append(m.Rows, &report.Row{Name: name})
	return m.Rows[len(m.Rows)-1]
}
