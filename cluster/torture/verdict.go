//go:build unix

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A verdict collects what happened in a run.
type verdict struct {
	fault string

	mu        sync.Mutex
	breaches  []string
	got       map[string]bool // node, user and number
	refused   map[string]bool // certainly not delivered
	uncertain int
	away      []time.Duration // how long users were away after their newest connection had ended
	longest   time.Duration   // from Add until a user had the message
	recovery  []time.Duration
}

func newVerdict(fault string) *verdict {
	return &verdict{fault: fault, got: map[string]bool{}, refused: map[string]bool{}}
}

func (v *verdict) breach(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.breachLocked(format, args...)
}

// Write takes what a node writes to its standard error: a panic, or a data race.
func (v *verdict) Write(p []byte) (int, error) {
	v.breach("a node says %s", p)
	return len(p), nil
}

func (v *verdict) breachLocked(format string, args ...any) {
	if len(v.breaches) < 20 {
		v.breaches = append(v.breaches, fmt.Sprintf(format, args...))
	}
}

// received judges a message that a user has received. last has, for each node, the number of its
// last message over the same connection.
func (v *verdict) received(id, data string, last map[string]int) {
	words := strings.Fields(strings.TrimRight(data, "x\n"))
	if len(words) != 4 { // a message of reach
		return
	}
	node, what := words[0], strings.Join(words[:3], " ")
	number, _ := strconv.Atoi(words[2])
	at, _ := strconv.ParseInt(words[3], 10, 64)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case words[1] != id:
		v.breachLocked("%s was received by %s", what, id)
	case v.got[what]:
		v.breachLocked("%s was received twice", what)
	case v.refused[what]:
		v.breachLocked("%s was received, and reported as not delivered", what)
	case number < last[node]:
		v.breachLocked("%s came after %d over one connection", what, last[node])
	}
	v.got[what], last[node] = true, number
	v.longest = max(v.longest, time.Since(time.Unix(0, at)))
}

// undelivered handles a report of a node: a class and a message.
func (v *verdict) undelivered(report string) {
	words := strings.Fields(report)
	if len(words) != 5 {
		return
	}
	what := strings.Join(words[1:4], " ")
	v.mu.Lock()
	defer v.mu.Unlock()
	if words[0] == "uncertain" {
		v.uncertain++
		return
	}
	if v.got[what] {
		v.breachLocked("%s was received, and then reported as not delivered", what)
	}
	if v.refused[what] {
		v.breachLocked("%s was reported twice", what)
	}
	v.refused[what] = true
}

// back notes that a user is connected again. lost is when her last connection ended, or zero if
// this is her first.
func (v *verdict) back(lost time.Time) {
	if lost.IsZero() {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.away = append(v.away, time.Since(lost))
}

func (v *verdict) recovered(after time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.recovery = append(v.recovery, after)
}

func (v *verdict) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, slowest := spread(v.recovery)
	median, longest := spread(v.away)
	s := fmt.Sprintf("%-24s %6d received, %5d not delivered, %4d uncertain, longest delay %.1fs, %5d times away for %.2fs (median) to %.1fs, all reached after at most %.1fs (%d times)",
		v.fault, len(v.got), len(v.refused), v.uncertain, v.longest.Seconds(),
		len(v.away), median.Seconds(), longest.Seconds(), slowest.Seconds(), len(v.recovery))
	for _, b := range v.breaches {
		s += "\n\t" + b
	}
	return s
}

// spread returns the median and the longest of some times, or 0 if there are none.
func spread(all []time.Duration) (median, longest time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1]
}
