package cluster

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A modelFault is a fault that affects a model for a while.
type modelFault struct {
	name  string
	skew  time.Duration // of one node's clock, from the start
	begin func(m *model, node int)
	end   func(m *model, node int)
}

var modelFaults = []modelFault{
	{"none", 0, func(*model, int) {}, func(*model, int) {}},
	{"a route that loses half", 0, func(m *model, _ int) { m.lose = 0.5 }, func(m *model, _ int) { m.mend() }},
	{"a route that is cut", 0, func(m *model, _ int) { m.cut = true }, func(m *model, _ int) { m.mend() }},
	{"messages that come twice", 0, func(m *model, _ int) { m.double = 0.5 }, func(m *model, _ int) { m.mend() }},
	{"messages out of order", 0, func(m *model, _ int) { m.mixed = true }, func(m *model, _ int) { m.mend() }},
	{"messages that come seconds late", 0, func(m *model, _ int) { m.hung = 0.05 }, func(m *model, _ int) { m.mend() }},
	{"a node that is stopped", 0, func(m *model, n int) { m.nodes[n].stop(4 * time.Second) }, func(*model, int) {}},
	{"a clock two hours ahead, and back", 0, func(m *model, n int) { m.nodes[n].wall = 2 * time.Hour }, func(m *model, n int) { m.nodes[n].wall = 0 }},
	{"a clock two hours behind, and back", 0, func(m *model, n int) { m.nodes[n].wall = -2 * time.Hour }, func(m *model, n int) { m.nodes[n].wall = 0 }},
	{"a clock 30 s ahead, and a route that is cut", 30 * time.Second, func(m *model, n int) { m.cut = true }, func(m *model, _ int) { m.mend() }},
}

// history runs one history. Users come and move as at says, a fault lasts 5 s, and node leaver
// leaves, or none if leaver is modelNodes. In the end all must be well.
func history(rules rules, seed uint64, fault modelFault, node, leaver int, at []int) *model {
	m := newModel(rules, seed)
	restart := fault.name == "none" && leaver < modelNodes // nothing else goes wrong
	if seed%2 == 1 && !restart && fault.skew == 0 {        // a node joins while the fault lasts
		m.nodes[m.r.IntN(modelNodes)].joins = 2*time.Second + time.Duration(m.r.Int64N(int64(5*time.Second)))
	}
	m.nodes[node].wall = fault.skew
	m.nodes[node].clock.ahead = uint64(fault.skew.Microseconds())
	for i, n := range at {
		id := i % modelIDs
		leaves := m.r.IntN(2) == 0 && !restart
		m.after(1500*time.Millisecond+time.Duration(i)*600*time.Millisecond, func() {
			if leaves { // the user leaves and comes back, as with a reload
				for _, o := range m.nodes {
					o.leave(id)
				}
			}
			m.after(20*time.Millisecond, func() { m.nodes[n].connect(id) })
		})
	}
	for d := 1200 * time.Millisecond; d < 12*time.Second; d += time.Millisecond + time.Duration(m.r.Int64N(int64(240*time.Millisecond))) {
		m.after(d, func() { m.nodes[m.r.IntN(modelNodes)].push(m.r.IntN(modelIDs)) })
	}
	if leaver < modelNodes {
		m.after(2*time.Second+time.Duration(m.r.Int64N(int64(6*time.Second))), func() { m.leaves(leaver) })
	}
	m.after(2800*time.Millisecond, func() { m.strict = restart }) // all users have come by then
	m.after(2*time.Second, func() { fault.begin(m, node) })
	m.after(7*time.Second, func() { fault.end(m, node) })
	m.run(17 * time.Second)
	m.check()
	return m
}

// each runs histories until done returns true, at most most of them, and returns how many. It uses
// every fault, and lets each node leave or none. Users move in every way that 5 digits in base 3
// can describe, and then at random. It uses all processors, so done may be called concurrently.
func each(rules rules, most int, done func(fault string, m *model) bool) (histories int) {
	const exact = 243
	var next atomic.Int64
	var over atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !over.Load() {
				i := int(next.Add(1)) - 1
				if i >= most {
					return
				}
				fault, i := modelFaults[i%len(modelFaults)], i/len(modelFaults)
				seed, node, leaver := uint64(i), i%modelNodes, i/modelNodes%(modelNodes+1)
				var at []int
				if i, random := i/modelNodes/(modelNodes+1), i-modelNodes*(modelNodes+1)*exact; random < 0 {
					at = []int{i % 3, i / 3 % 3, i / 9 % 3, i / 27 % 3, i / 81, 1, i % 3, 2}
				} else {
					r := rand.New(rand.NewPCG(seed, 2))
					for range 8 {
						at = append(at, r.IntN(modelNodes))
					}
				}
				if done(fault.name, history(rules, seed, fault, node, leaver, at)) {
					over.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return min(int(next.Load()), most)
}

// faulty returns what is wrong with a history. Without a fault, that
// includes a push that waits for long.
func (m *model) faulty(fault string) []string {
	if fault == "none" && m.longest > 2*time.Second {
		m.fail("a push waits for %v", m.longest)
	}
	return m.wrong
}

// TestModel: whatever happens, in the end each user is connected once, by the newest
// connection, and no message waits for a connected user. No message is written twice, after its
// outcome, or after later ones. Without a fault, no push waits for long.
func TestModel(t *testing.T) {
	most := 100_000
	if raced || testing.Short() {
		most = 1000
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // a history leaves nothing but garbage
	start := time.Now()
	var failed atomic.Int64
	n := each(rules{}, most, func(fault string, m *model) bool {
		if wrong := m.faulty(fault); len(wrong) > 0 {
			t.Errorf("%s: %s", fault, wrong[0])
			return failed.Add(1) >= 10
		}
		return false
	})
	t.Logf("%d histories in %v", n, time.Since(start))
}

// TestModelFindsTheFaultsOfBefore: with any one rule switched off, some history must go wrong.
func TestModelFindsTheFaultsOfBefore(t *testing.T) {
	for what, rules := range map[string]rules{
		"wall clocks":                      {wallClock: true},
		"late requests are taken":          {late: true},
		"nobody asks for what is out":      {mute: true},
		"nobody looks for whom mail waits": {forgetful: true},
		"a gap is not noticed":             {trusting: true},
		"a node does not hold its ids":     {hasty: true},
		"a node says no farewell":          {silent: true},
		"a farewell is always believed":    {credulous: true},
		"a farewell clears the window":     {amnesiac: true},
		"strangers' requests are taken":    {naive: true},
	} {
		var found atomic.Pointer[string]
		n := each(rules, 10_000, func(fault string, m *model) bool {
			if wrong := m.faulty(fault); len(wrong) > 0 {
				found.Store(&wrong[0])
				return true
			}
			return false
		})
		if first := found.Load(); first == nil {
			t.Errorf("%s: not found in %d histories", what, n)
		} else {
			t.Logf("%s: after %d histories %s", what, n, *first)
		}
	}
}
