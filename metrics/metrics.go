// Package metrics exports the statistics of a [gcpool.Pool] to Prometheus.
//
// [NewCollector] returns a [prometheus.Collector] for a pool. Register it once: every
// named pool appears with the label pool, even a pool that you register later. Ids are never
// labels, so the number of series depends only on the number of pools: 39 for each pool, 18 of
// them in the histogram.
//
// The package counts nothing. A scrape reads [gcpool.Pool.Stats], which costs the same for
// ten connections and for a million, and takes no lock that a message needs.
//
// The folder also has grafana.json, a dashboard to import, and alerts.yml, five alert
// rules for Prometheus.
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

// collector is a [prometheus.Collector]. It keeps nothing between scrapes, so any number of scrapes
// may run at once.
type collector struct {
	pool     *gcpool.Pool
	figures  []figure
	duration *prometheus.Desc
}

// NewCollector returns a [prometheus.Collector] for all named pools of pool. README.md lists
// its metrics, in seconds, bytes and messages. You may register the collector before the
// pool's first Register and before Start, and scrape it after Shutdown. Any number of scrapes
// may run at once, and none waits for the pool. For a nil pool it collects nothing.
//
// If a process has two gcpool.Pools, give each collector a label. Otherwise the registry
// refuses the second:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"server": "chat"}, registry).
//		MustRegister(metrics.NewCollector(pool))
func NewCollector(pool *gcpool.Pool) prometheus.Collector {
	return &collector{
		pool:    pool,
		figures: append(append(gauges(), counters()...), undelivered()...),
		duration: describe("delivery_duration_seconds",
			"Seconds from Add until the system had taken the whole message, for at most one write in 64."),
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

// Collect implements [prometheus.Collector]. It blocks only while it sends on to.
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

// cumulate returns a histogram in Prometheus's form: each bucket counts all messages that
// took its bound or less.
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

// label returns a name as the value of a label. A name that is not UTF-8 would fail the
// whole scrape, so label quotes it. It also quotes names that look quoted, so that no two
// names become the same.
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
		gauge("connections", "Connected ids.",
			func(s *gcpool.Stats) int { return s.Connections }),
		gauge("waiting_messages", "Messages that were accepted and have no outcome yet.",
			func(s *gcpool.Stats) int { return s.Waiting }),
		gauge("waiting_bytes", "Payload bytes of the messages that were accepted and have no outcome yet.",
			func(s *gcpool.Stats) int { return s.WaitingBytes }),
		gauge("outbox_limit_bytes", "Payload bytes that may wait for one id: WithOutbox.",
			func(s *gcpool.Stats) int { return s.OutboxLimit }),
		gauge("fullest_outbox_bytes", "Payload bytes that wait in the fullest outbox; messages in the mailbox do not count.",
			func(s *gcpool.Stats) int { return s.FullestOutbox }),
		gauge("mailbox_bytes", "Payload bytes in the mailbox.",
			func(s *gcpool.Stats) int { return s.MailboxBytes }),
		gauge("mailbox_limit_bytes", "Payload bytes that may wait for all ids that are away: WithMailbox; 0 without a mailbox.",
			func(s *gcpool.Stats) int { return s.MailboxLimit }),
		gauge("stalled_writers", "Connections whose peer has been holding up a write for 5 ms or more.",
			func(s *gcpool.Stats) int { return s.Stalled }),
	}
}

func counters() []figure {
	return []figure{
		counter("accepted_messages_total", "Messages that were accepted.",
			func(s *gcpool.Stats) uint64 { return s.Accepted }),
		counter("written_messages_total", "Messages of which the system took every byte.",
			func(s *gcpool.Stats) uint64 { return s.Written }),
		counter("written_bytes_total", "Payload bytes of the messages that were written, without newlines and headers.",
			func(s *gcpool.Stats) uint64 { return s.WrittenBytes }),
		counter("forwarded_messages_total", "Messages that another process of the cluster wrote.",
			func(s *gcpool.Stats) uint64 { return s.Forwarded }),
		counter("joins_total", "Ids that connected; a takeover does not count.",
			func(s *gcpool.Stats) uint64 { return s.Joins }),
		counter("leaves_total", "Ids that disconnected; a takeover does not count.",
			func(s *gcpool.Stats) uint64 { return s.Leaves }),
		counter("takeovers_total", "Connections that a newer connection of the same id replaced.",
			func(s *gcpool.Stats) uint64 { return s.Takeovers }),
	}
}

// undelivered starts all reasons at zero: a series that begins with its first increase hides
// that increase from rate().
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
