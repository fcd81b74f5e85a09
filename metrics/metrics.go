// Package metrics shows the figures of a [gcpool.Pool] to Prometheus.
//
// [NewCollector] makes a [prometheus.Collector] of a pool; register it once, and
// every pool that has a name, also one that is registered later, appears with the
// label pool. Ids are never labels, so the number of series depends on the pools
// alone: 37 for each, of which 18 are the one histogram.
//
// Nothing is counted here. A scrape reads [gcpool.Pool.Stats], which costs the
// same for ten connections as for a million and takes no lock that a message
// needs.
//
// Beside the package lie grafana.json, a dashboard to import, and alerts.yml,
// four rules for Prometheus.
package metrics

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nulijiabei/gcpool"
	"github.com/prometheus/client_golang/prometheus"
)

// A figure is one number of a pool.
type figure struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []string // values of the labels beside pool
	value  func(s *gcpool.Stats) float64
}

// collector is a [prometheus.Collector]. It keeps nothing between two scrapes,
// so any number of them may run at once.
type collector struct {
	pool     *gcpool.Pool
	figures  []figure
	duration *prometheus.Desc
}

// NewCollector returns a [prometheus.Collector] of the pools of pool; README.md
// lists its metrics, in seconds, bytes and messages. It may be registered before
// Start, before the first Register, and read after Shutdown; any number of
// scrapes may run at once, and none waits for the pool. A nil pool has no pools.
//
// A process with two of them tells them apart by a label of its own, or else the
// second is refused:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"server": "chat"}, registry).
//		MustRegister(metrics.NewCollector(pool))
func NewCollector(pool *gcpool.Pool) prometheus.Collector {
	return &collector{
		pool:    pool,
		figures: append(append(gauges(), counters()...), undelivered()...),
		duration: describe("delivery_duration_seconds",
			"Time from Add until the system had taken the whole message, of a sample of at most one write in 64."),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	var last *prometheus.Desc
	for _, f := range c.figures {
		if f.desc != last { // the reasons share one
			to <- f.desc
		}
		last = f.desc
	}
	to <- c.duration
}

// Collect implements [prometheus.Collector]. It does not block but on to.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	if c.pool == nil {
		return
	}
	for _, s := range c.pool.Stats() {
		name := label(s.Name)
		for _, f := range c.figures {
			to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(&s), append([]string{name}, f.labels...)...)
		}
		count, buckets := cumulate(&s)
		to <- prometheus.MustNewConstHistogram(c.duration, count, s.LatencySum.Seconds(), buckets, name)
	}
}

// cumulate returns a histogram as Prometheus has it: each bucket counts what was
// as fast as its bound or faster.
func cumulate(s *gcpool.Stats) (count uint64, buckets map[float64]uint64) {
	last := len(s.Latency) - 1
	buckets = make(map[float64]uint64, last)
	for i, n := range s.Latency[:last] {
		count += n
		bound := 100 * time.Microsecond << i
		buckets[float64(bound)/float64(time.Second)] = count // Seconds() would round twice
	}
	return count + s.Latency[last], buckets
}

// label returns a name as the value of a label. One that is not UTF-8 would fail
// the whole scrape, so it is quoted; so is one that looks as if it were, lest two
// names become one.
func label(name string) string {
	if utf8.ValidString(name) && !strings.HasPrefix(name, `"`) {
		return name
	}
	return strconv.Quote(name)
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gcpool_"+name, help, append([]string{"pool"}, labels...), nil)
}

func gauge(name, help string, value func(*gcpool.Stats) int) figure {
	return figure{desc: describe(name, help), kind: prometheus.GaugeValue,
		value: func(s *gcpool.Stats) float64 { return float64(value(s)) }}
}

func counter(name, help string, value func(*gcpool.Stats) uint64) figure {
	return figure{desc: describe(name, help), kind: prometheus.CounterValue,
		value: func(s *gcpool.Stats) float64 { return float64(value(s)) }}
}

func gauges() []figure {
	return []figure{
		gauge("connections", "Ids that are connected.",
			func(s *gcpool.Stats) int { return s.Connections }),
		gauge("waiting_messages", "Messages that were accepted and have no outcome yet.",
			func(s *gcpool.Stats) int { return s.Waiting }),
		gauge("waiting_bytes", "Payload of the messages that were accepted and have no outcome yet.",
			func(s *gcpool.Stats) int { return s.WaitingBytes }),
		gauge("outbox_limit_bytes", "Payload that may wait for one id, see WithOutbox.",
			func(s *gcpool.Stats) int { return s.OutboxLimit }),
		gauge("mailbox_limit_bytes", "Payload that may wait for all ids that are away, see WithMailbox; 0 without one.",
			func(s *gcpool.Stats) int { return s.MailboxLimit }),
		gauge("stalled_writers", "Connections whose peer holds up a write, for 5 ms or more.",
			func(s *gcpool.Stats) int { return s.Stalled }),
	}
}

func counters() []figure {
	return []figure{
		counter("accepted_messages_total", "Messages that were accepted.",
			func(s *gcpool.Stats) uint64 { return s.Accepted }),
		counter("written_messages_total", "Messages of which the system took every byte.",
			func(s *gcpool.Stats) uint64 { return s.Written }),
		counter("written_bytes_total", "Payload of the messages that were written, without newlines and headers.",
			func(s *gcpool.Stats) uint64 { return s.WrittenBytes }),
		counter("forwarded_messages_total", "Messages that another process of the cluster wrote.",
			func(s *gcpool.Stats) uint64 { return s.Forwarded }),
		counter("joins_total", "Ids that came; a takeover is none.",
			func(s *gcpool.Stats) uint64 { return s.Joins }),
		counter("leaves_total", "Ids that went; a takeover is none.",
			func(s *gcpool.Stats) uint64 { return s.Leaves }),
		counter("takeovers_total", "Connections that were replaced by a newer one of the same id.",
			func(s *gcpool.Stats) uint64 { return s.Takeovers }),
	}
}

// undelivered has all reasons from the start, each at zero: a series that begins
// with its first increase hides that increase from rate().
func undelivered() []figure {
	desc := describe("undelivered_messages_total", "Messages that were accepted and reported as undelivered.", "reason")
	var all []figure
	for _, r := range []struct {
		reason string
		value  func(s *gcpool.Stats) uint64
	}{
		{"not_connected", func(s *gcpool.Stats) uint64 { return s.NotConnected }},
		{"slow", func(s *gcpool.Stats) uint64 { return s.Slow }},
		{"deleted", func(s *gcpool.Stats) uint64 { return s.Deleted }},
		{"expired", func(s *gcpool.Stats) uint64 { return s.Expired }},
		{"closed", func(s *gcpool.Stats) uint64 { return s.Closed }},
		{"other", func(s *gcpool.Stats) uint64 { return s.Other }},
	} {
		all = append(all, figure{desc: desc, kind: prometheus.CounterValue, labels: []string{r.reason},
			value: func(s *gcpool.Stats) float64 { return float64(r.value(s)) }})
	}
	return all
}
