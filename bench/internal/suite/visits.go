package suite

import (
	"github.com/nulijiabei/gcpool/bench/internal/client"
	"github.com/nulijiabei/gcpool/bench/internal/report"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// visits measures what a connection costs that comes and goes at once: the handshake, the close
// handshake, and what the peer does for each user. After a deploy all users come at once.
func (b *Bench) visits(r *report.Scenario) error {
	cpu := &report.Metric{Name: "CPU/connection", Unit: "µs"}
	rate := &report.Metric{Name: "connections/s", Higher: true}
	b.interleave(r, plan{with: true, try: func(s *session) ([]float64, error) {
		var before, after server.Usage
		var count int
		err := s.server.call("Measure", *nothing, &before)
		if err == nil {
			err = s.client.call("Visit", client.Visit{Addr: s.at.Addr, Clients: 8, Window: 3 * b.Window}, &count)
		}
		if err == nil {
			err = s.server.call("Measure", *nothing, &after)
		}
		return []float64{
			float64(after.CPU-before.CPU) / 1e3 / float64(max(1, count)),
			float64(count) / (3 * b.Window).Seconds(),
		}, err
	}}, cpu, rate)
	itself(r, cpu, 1.5, "at most 1.5x the CPU time of %s alone")
	return nil
}
