package cluster

import (
	"testing"
	"time"
)

// A modelFault is something that happens to a model for a while.
type modelFault struct {
	name  string
	skew  time.Duration // of a node's clock, from the start
	begin func(m *model, node int)
	end   func(m *model, node int)
}

var modelFaults = []modelFault{
	{"none", 0, func(*model, int) {}, func(*model, int) {}},
	{"a route that loses half", 0, func(m *model, _ int) { m.lose = 0.5 }, func(m *model, _ int) { m.mend() }},
	{"a route that is cut", 0, func(m *model, _ int) { m.cut = true }, func(m *model, _ int) { m.mend() }},
	{"messages that come twice", 0, func(m *model, _ int) { m.double = 0.5 }, func(m *model, _ int) { m.mend() }},
	{"messages out of order", 0, func(m *model, _ int) { m.mixed = true }, func(m *model, _ int) { m.mend() }},
	{"a node that is stopped", 0, func(m *model, n int) { m.nodes[n].stop(4 * time.Second) }, func(*model, int) {}},
	{"a clock two hours ahead, and back", 0, func(m *model, n int) { m.nodes[n].wall = 2 * time.Hour }, func(m *model, n int) { m.nodes[n].wall = 0 }},
	{"a clock two hours behind, and back", 0, func(m *model, n int) { m.nodes[n].wall = -2 * time.Hour }, func(m *model, n int) { m.nodes[n].wall = 0 }},
	{"a clock 30 s ahead, and a route that is cut", 30 * time.Second, func(m *model, n int) { m.cut = true }, func(m *model, _ int) { m.mend() }},
}

// history runs a history: users come and move as at tells, a fault lasts for 5 s, and
// then all must be well.
func history(rules rules, seed uint64, fault modelFault, node int, at []int) *model {
	m := newModel(rules, seed)
	m.nodes[node].wall = fault.skew
	m.nodes[node].clock.ahead = uint64(fault.skew.Microseconds())
	ids := []string{"alice", "bob"}
	for i, n := range at {
		id := ids[i%2]
		leaves := m.r.IntN(2) == 0
		m.after(1500*time.Millisecond+time.Duration(i)*600*time.Millisecond, func() {
			if leaves { // before it comes back, as with a reload
				for _, o := range m.nodes {
					o.leave(id)
				}
			}
			m.after(20*time.Millisecond, func() { m.nodes[n].connect(id) })
		})
	}
	const load = 12 * time.Second
	for d := 1200 * time.Millisecond; d < load; d += 37 * time.Millisecond {
		m.after(d, func() { m.nodes[m.r.IntN(modelNodes)].push(ids[m.r.IntN(2)]) })
	}
	m.after(2*time.Second, func() { fault.begin(m, node) })
	m.after(7*time.Second, func() { fault.end(m, node) })
	m.run(17 * time.Second)
	m.check(ids...)
	return m
}

// each runs histories with every fault until done, and returns how many: users move in
// every way that 3 digits in base 3 tell, and at random.
func each(rules rules, random int, done func(fault string, m *model) bool) (histories int) {
	var moves [][]int
	for i := range 27 {
		moves = append(moves, []int{i % 3, i / 3 % 3, i / 9, 0, i % 3, 1, i / 3 % 3, 2})
	}
	for _, fault := range modelFaults {
		for node := range modelNodes {
			for i, at := range moves {
				histories++
				if done(fault.name, history(rules, uint64(i), fault, node, at)) {
					return histories
				}
			}
		}
		for seed := range random {
			r := newModel(rules, uint64(seed)).r
			at := make([]int, 8)
			for i := range at {
				at[i] = r.IntN(modelNodes)
			}
			histories++
			if done(fault.name, history(rules, uint64(100+seed), fault, r.IntN(modelNodes), at)) {
				return histories
			}
		}
	}
	return histories
}

// faulty returns what is wrong with a history: without a fault, a push that waits for long
// as well.
func (m *model) faulty(fault string) []string {
	if fault == "none" && m.longest > 2*time.Second {
		m.fail("a push waits for %v", m.longest)
	}
	return m.wrong
}

// TestModel: whatever happens, each user is connected once in the end, by the newest
// connection; no message is written twice, after its outcome, or after later ones; and
// without a fault no push waits for long.
func TestModel(t *testing.T) {
	start, failed := time.Now(), 0
	n := each(rules{}, 20, func(fault string, m *model) bool {
		if wrong := m.faulty(fault); len(wrong) > 0 {
			failed++
			t.Errorf("%s: %s", fault, wrong[0])
		}
		return failed == 10
	})
	t.Logf("%d histories in %v", n, time.Since(start))
}

// TestModelFindsTheFaultsOfBefore: with any rule switched off there is a history that goes
// wrong.
func TestModelFindsTheFaultsOfBefore(t *testing.T) {
	for what, rules := range map[string]rules{
		"wall clocks":                 {wallClock: true},
		"late requests are taken":     {late: true},
		"nobody asks for what is out": {mute: true},
	} {
		var found []string
		n := each(rules, 5, func(fault string, m *model) bool {
			found = m.faulty(fault)
			return len(found) > 0
		})
		if len(found) == 0 {
			t.Errorf("%s: not found in %d histories", what, n)
		} else {
			t.Logf("%s: after %d histories %s", what, n, found[0])
		}
	}
}
