package dashboard

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nulijiabei/gcpool"
)

// A snapshot has all figures at one moment. Its times are for human readers. The script goes by
// Uptime, because the clock may be set.
type snapshot struct {
	Started time.Time `json:"started"` // differs after a restart of the process
	Now     time.Time `json:"now"`
	Uptime  float64   `json:"uptime"` // seconds since Started
	Pools   []figures `json:"pools"`  // by name
}

// figures are [gcpool.Stats] with the names that they have in JSON.
type figures struct {
	Name         string  `json:"name"`
	Connections  int     `json:"connections"`
	Waiting      int     `json:"waiting"`
	WaitingBytes int     `json:"waiting_bytes"`
	OutboxLimit  int     `json:"outbox_limit"`
	MailboxBytes int     `json:"mailbox_bytes"`
	MailboxLimit int     `json:"mailbox_limit"`
	Fullest      int     `json:"fullest_outbox"`
	Stalled      int     `json:"stalled"`
	Accepted     uint64  `json:"accepted"`
	Written      uint64  `json:"written"`
	Forwarded    uint64  `json:"forwarded"`
	Undelivered  uint64  `json:"undelivered"`
	WrittenBytes uint64  `json:"written_bytes"`
	Reasons      reasons `json:"reasons"` // their sum is Undelivered
	Joins        uint64  `json:"joins"`
	Leaves       uint64  `json:"leaves"`
	Takeovers    uint64  `json:"takeovers"`
	Latency      latency `json:"latency"`
}

type reasons struct {
	NotConnected uint64 `json:"not_connected"`
	Slow         uint64 `json:"slow"`
	Deleted      uint64 `json:"deleted"`
	Expired      uint64 `json:"expired"`
	Closed       uint64 `json:"closed"`
	Other        uint64 `json:"other"`
}

// latency is a histogram: Counts[i] messages took more than Bounds[i-1] seconds and at most
// Bounds[i]. The last count has no bound; it counts all slower messages.
type latency struct {
	Bounds []float64 `json:"bounds"`
	Counts []uint64  `json:"counts"`
	Sum    float64   `json:"sum"` // seconds
}

func (h *handler) snapshot() snapshot {
	now := time.Now()
	s := snapshot{
		Started: h.started.UTC(),
		Now:     now.UTC(),
		Uptime:  now.Sub(h.started).Seconds(),
		Pools:   []figures{}, // not null
	}
	if h.pool == nil {
		return s
	}
	for _, stats := range h.pool.Stats() {
		s.Pools = append(s.Pools, figuresOf(&stats))
	}
	return s
}

func figuresOf(s *gcpool.Stats) figures {
	f := figures{
		Name: printable(s.Name), Connections: s.Connections, Stalled: s.Stalled,
		Waiting: s.Waiting, WaitingBytes: s.WaitingBytes,
		OutboxLimit: s.OutboxLimit, MailboxBytes: s.MailboxBytes, MailboxLimit: s.MailboxLimit, Fullest: s.FullestOutbox,
		Accepted: s.Accepted, Written: s.Written, Forwarded: s.Forwarded, Undelivered: s.Undelivered,
		WrittenBytes: s.WrittenBytes,
		Reasons:      reasons{s.NotConnected, s.Slow, s.Deleted, s.Expired, s.Closed, s.Other},
		Joins:        s.Joins, Leaves: s.Leaves, Takeovers: s.Takeovers,
		Latency: latency{Counts: s.Latency[:], Sum: s.LatencySum.Seconds()},
	}
	for i := range len(s.Latency) - 1 {
		f.Latency.Bounds = append(f.Latency.Bounds, float64(100*time.Microsecond<<i)/float64(time.Second))
	}
	return f
}

// printable returns a name that JSON can hold. JSON would replace bytes that are not UTF-8,
// so two names could look the same. The script tells pools apart by name, so printable also
// quotes names that look quoted.
func printable(name string) string {
	if utf8.ValidString(name) && !strings.HasPrefix(name, `"`) {
		return name
	}
	return strconv.Quote(name)
}

// size formats a number of bytes, and whole any number, much as the script does.
func size(n int) string { return compact(float64(n), 1024, " B", " KiB", " MiB", " GiB", " TiB") }

func whole(n any) string {
	value, _ := strconv.ParseFloat(fmt.Sprint(n), 64)
	return compact(value, 1000, "", "K", "M", "B", "T")
}

func compact(value, step float64, units ...string) string {
	unit := 0
	for value >= 1000 && unit < len(units)-1 {
		value, unit = value/step, unit+1
	}
	format := "%.3g%s"
	if value >= 100 {
		format = "%.0f%s" // %.3g would write 1000 as 1e+03
	}
	return fmt.Sprintf(format, value, units[unit])
}
