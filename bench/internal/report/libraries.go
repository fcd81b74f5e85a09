package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Pair is a library alone and with gcpool.
type Pair struct{ Alone, With *Row }

// Pairs returns the libraries for which the metric has both figures.
func (m *Metric) Pairs() (all []Pair) {
	for _, with := range m.Rows {
		if with.Library == "" {
			continue
		}
		if alone := m.Row(with.Library); alone != nil && len(with.Over(alone)) > 0 {
			all = append(all, Pair{alone, with})
		}
	}
	return all
}

// columns are the columns of the libraries' table.
var columns = []struct{ scenario, metric, head string }{
	{"fanout", "messages/s", "64 B, messages/s"},
	{"fanout1k", "messages/s", "1 KiB, messages/s"},
	{"burst", "messages/s", "bursts of 64 B, messages/s"},
	{"latency", "p99 at 100000/s", "p99 at 100,000/s"},
	{"idle", "heap + stacks/connection", "an idle connection"},
}

// Libraries writes a table in Markdown of what each library gains from gcpool, if the run
// measured it.
func (r *Report) Libraries(w io.Writer) {
	if table := r.libraries(); table != nil {
		fmt.Fprintf(w, "\nEach library alone, with gcpool, and the median of the rounds' ratios:\n\n%s", table)
	}
}

func (r *Report) libraries() []byte {
	head, rule := "| library |", "|---|"
	var names []string
	lines := make(map[string]string)
	for _, c := range columns {
		m := r.metric(c.scenario, c.metric)
		pairs := m.Pairs()
		if len(pairs) == 0 {
			continue
		}
		for _, p := range pairs {
			if name := p.Alone.Name; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		head, rule = head+" "+c.head+" |", rule+"---|"
		for _, name := range names {
			lines[name] += " " + m.cell(name) + " |"
		}
	}
	if names == nil {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n", head, rule)
	for _, name := range names {
		fmt.Fprintf(&b, "| %s |%s\n", name, lines[name])
	}
	return b.Bytes()
}

// cell returns a library's figures, alone and with gcpool.
func (m *Metric) cell(library string) string {
	for _, p := range m.Pairs() {
		if p.Alone.Name == library {
			return fmt.Sprintf("%s → %s, **%s**", m.Format(p.Alone.Median), m.Format(p.With.Median), ratio(p.With, p.Alone))
		}
	}
	return "failed"
}

func (r *Report) metric(scenario, name string) *Metric {
	for _, s := range r.Scenarios {
		if s.Name == scenario {
			return s.Metric(name)
		}
	}
	return &Metric{Name: name}
}

// librariesChart has two bars for each library: with gcpool and alone.
func librariesChart(m *Metric, load string) (all []chart) {
	with := &Metric{Name: "with gcpool", Unit: m.Unit, Higher: m.Higher}
	alone := &Metric{Name: "the library alone", Unit: m.Unit, Higher: m.Higher}
	for _, p := range m.Pairs() {
		row := *p.With
		row.Name = p.Alone.Name
		with.Rows, alone.Rows = append(with.Rows, &row), append(alone.Rows, p.Alone)
	}
	if len(with.Rows) == 0 {
		return nil
	}
	return []chart{{file: "libraries", title: m.Name, note: load, metrics: []*Metric{with, alone}}}
}
