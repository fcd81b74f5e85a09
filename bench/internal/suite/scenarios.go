package suite

import (
	"fmt"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/report"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// Scenarios returns all scenarios, with the targets of the project.
func Scenarios() []Scenario {
	return []Scenario{
		saturated("fanout", "1,000 connections, round robin, saturated, 64 B", 1000, 64, 1, 5, true),
		saturated("fanout1k", "1,000 connections, round robin, saturated, 1 KiB", 1000, 1<<10, 1, 2, true),
		saturated("fanout8k", "1,000 connections, round robin, saturated, 8 KiB", 1000, 8<<10, 1, 1, false),
		saturated("burst", "200 connections, 100 messages in a row to each, saturated, 64 B", 200, 64, 100, 5, true),
		{"broadcast", "one message of 64 B to 10,000 connections, until the last has it", (*Bench).broadcast},
		{"latency", "1,000 connections at 2,000 and at 100,000 messages/s, on schedule, 64 B", (*Bench).latency},
		{"stalled", "1,000 connections, saturated and at 50,000 messages/s, before and after 10 % stop reading", (*Bench).stalled},
		{"idle", "9,000 idle connections that got a message each", (*Bench).idle},
		{"visits", "8 clients that connect, say goodbye and connect again as the next user", (*Bench).visits},
		{"registry", "ids on connections in memory, 1,000 and 1,000,000", (*Bench).registry},
		{"add", "StreamPool.Add of 64 B to 1,000 ids on connections in memory, and a bare channel", (*Bench).add},
		{"cluster", "1,000 ids on another node, over NATS: saturated, and one at a time, 64 B", (*Bench).cluster},
		{"scaling", "fanout at 100, 1,000 and 9,000 connections with GOMAXPROCS 1 and 2", (*Bench).scaling},
	}
}

// The metrics that several scenarios have.
func perSecond() *report.Metric { return &report.Metric{Name: "messages/s", Higher: true} }
func cpuEach() *report.Metric   { return &report.Metric{Name: "CPU/message", Unit: "ns"} }

// saturated returns a scenario that pushes as fast as possible. The target compares gcpool
// with the best peer. If the libraries with gcpool take part, it also compares each with the
// library alone.
func saturated(name, load string, users, size, burst int, target float64, with bool) Scenario {
	return Scenario{name, load, func(b *Bench, r *report.Scenario) error {
		users := b.fewer(users)
		l := b.flood(users, size, burst)
		warm := l
		warm.Window /= 2
		rate := perSecond()
		b.interleave(r, plan{users: users, limits: true, batched: true, with: with, warm: warm, try: func(s *session) ([]float64, error) {
			o, err := s.load(l)
			return []float64{o.rate(), o.cost()}, err
		}}, rate, cpuEach())
		best(r, rate, target, fmt.Sprintf("at least %.0fx the best peer's messages/s", target))
		if with {
			itself(r, rate, target, fmt.Sprintf("at least %.0fx the messages/s of %%s alone", target))
		}
		return nil
	}}
}

func (b *Bench) broadcast(r *report.Scenario) error {
	took := &report.Metric{Name: "until the last", Unit: "ms"}
	cpu := &report.Metric{Name: "CPU", Unit: "ms"}
	users := b.fewer(10_000)
	warm := server.Load{Size: 64, Burst: 1, Producers: producers, Passes: 2, Window: time.Minute}
	b.interleave(r, plan{users: users, limits: true, warm: warm, try: func(s *session) ([]float64, error) {
		var times, costs []float64
		for range 5 {
			o, err := s.broadcast(64)
			if err != nil {
				return nil, err
			}
			times = append(times, o.seconds()*1e3)
			costs = append(costs, float64(o.cpu)/1e6)
		}
		return []float64{report.Median(times), report.Median(costs)}, nil
	}}, took, cpu)
	best(r, took, 1, "at most 1x the best peer's time")
	return nil
}

func (b *Bench) latency(r *report.Scenario) error {
	var metrics []*report.Metric
	rates := []int{2_000, 100_000}
	for _, rate := range rates {
		for _, p := range []string{"p50", "p99"} {
			metrics = append(metrics, &report.Metric{Name: fmt.Sprintf("%s at %d/s", p, rate), Unit: "µs"})
		}
	}
	warm := server.Load{Size: 64, Burst: 1, Producers: producers, Passes: 3, Window: b.Window}
	b.interleave(r, plan{users: b.fewer(1000), limits: true, with: true, warm: warm, try: func(s *session) (values []float64, err error) {
		for _, rate := range rates {
			o, err := s.load(server.Load{Size: 64, Rate: rate, Window: b.Window})
			if err != nil {
				return nil, err
			}
			values = append(values, micro(o.arrived.P50), micro(o.arrived.P99))
		}
		return values, nil
	}}, metrics...)
	best(r, metrics[2], 1.05, "p50 at 100,000/s at most 1.05x the best peer's")
	best(r, metrics[3], 0.8, "p99 at 100,000/s at most 0.8x the best peer's")
	best(r, metrics[0], 1, "p50 at 2,000/s at most the best peer's")
	best(r, metrics[1], 1, "p99 at 2,000/s at most the best peer's")
	itself(r, metrics[3], 1, "p99 at 100,000/s at most that of %s alone")
	return nil
}

func micro(d time.Duration) float64 { return float64(d) / 1e3 }

// scaling measures the CPU time of a message. The rate would also depend on how much of the
// machine the clients leave.
func (b *Bench) scaling(r *report.Scenario) error {
	users := []int{b.fewer(100), b.fewer(1000), b.fewer(9000)}
	at := make(map[[2]int]*report.Metric)
	for _, procs := range []int{1, 2} {
		for _, n := range users {
			m := &report.Metric{Name: fmt.Sprintf("%d, %d proc", n, procs), Unit: "ns"}
			at[[2]int{n, procs}] = m
			l := b.flood(n, 64, 1)
			p := plan{users: n, procs: procs, warm: l, only: []string{subject, "original", "gws"}}
			p.warm.Window /= 2
			p.try = func(s *session) ([]float64, error) {
				o, err := s.load(l)
				return []float64{o.cost()}, err
			}
			b.interleave(r, p, m)
		}
	}
	for _, procs := range []int{1, 2} {
		grows(r, at[[2]int{users[0], procs}], at[[2]int{users[2], procs}],
			fmt.Sprintf("CPU/message grows at most 1.5x from %d to %d connections, GOMAXPROCS %d", users[0], users[2], procs))
	}
	for _, n := range users {
		grows(r, at[[2]int{n, 1}], at[[2]int{n, 2}],
			fmt.Sprintf("CPU/message grows at most 1.5x from GOMAXPROCS 1 to 2, %d connections", n))
	}
	return nil
}

// flood returns a load that saturates: it pushes as fast as possible until the window is
// over. It stops earlier after two million messages or 256 MiB, because some peers queue far
// more than they send in that time.
func (b *Bench) flood(users, size, burst int) server.Load {
	messages := b.fewer(min(2_000_000, 256<<20/size))
	return server.Load{Size: size, Burst: burst, Producers: producers, Window: b.Window,
		Passes: max(1, messages/(users*burst))}
}

// fewer returns n, or a tenth of n in a quick run.
func (b *Bench) fewer(n int) int {
	if b.Quick {
		return n / 10
	}
	return n
}
