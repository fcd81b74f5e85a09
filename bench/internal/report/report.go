// Package report holds the benchmark's figures, and shows them as tables, JSON and charts.
package report

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Report is one run of the benchmark.
type Report struct {
	Date      string            `json:"date"`
	Machine   Machine           `json:"machine"`
	Go        string            `json:"go"`
	Modules   map[string]string `json:"modules"`
	Command   string            `json:"command"`
	Quick     bool              `json:"quick,omitempty"` // a tenth of the connections
	Rounds    int               `json:"rounds"`
	Seconds   int               `json:"seconds"`
	Scenarios []*Scenario       `json:"scenarios"`
}

// Machine is what the benchmark ran on.
type Machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB int    `json:"memory_mb"`
	System   string `json:"system"`
}

// Scenario is one load and its results.
type Scenario struct {
	Name     string    `json:"name"`
	Load     string    `json:"load"`
	Metrics  []*Metric `json:"metrics"`
	Verdicts []Verdict `json:"verdicts"`
}

// Metric is one measured quantity, with a row for each peer.
type Metric struct {
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	Higher bool   `json:"higher_is_better,omitempty"`
	Rows   []*Row `json:"rows"`
}

// Row is one peer's figures, one for each round. Zero means that the peer halted.
type Row struct {
	Name    string    `json:"name"`
	Library string    `json:"library,omitempty"` // the peer whose library this peer uses with gcpool
	Limit   bool      `json:"limit,omitempty"`
	Values  []float64 `json:"values"`
	Median  float64   `json:"median"`
	Failed  string    `json:"failed,omitempty"`
}

// Verdict is a target, and whether the run met it.
type Verdict struct {
	Target   string    `json:"target"`
	Measured string    `json:"measured"`
	Ratios   []float64 `json:"ratios,omitempty"`
	Met      bool      `json:"met"`
}

// Metric returns the metric of that name.
func (s *Scenario) Metric(name string) *Metric {
	for _, m := range s.Metrics {
		if m.Name == name {
			return m
		}
	}
	return &Metric{Name: name}
}

// Row returns the row of that name, nil if there is none.
func (m *Metric) Row(name string) *Row {
	for _, r := range m.Rows {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Best returns the best row that is neither a limit nor gcpool's, nil if there is
// none.
func (m *Metric) Best() *Row {
	var best *Row
	for _, r := range m.Rows {
		if r.Limit || r.Library != "" || r.Failed != "" || r.Median <= 0 {
			continue
		}
		if best == nil || (r.Median > best.Median) == m.Higher && r.Median != best.Median {
			best = r
		}
	}
	return best
}

// Add adds the figure of one round, rounded to a meaningful precision.
func (r *Row) Add(v float64) {
	if math.Abs(v) >= 1000 {
		v = math.Round(v)
	} else {
		v = math.Round(v*1e4) / 1e4
	}
	r.Values = append(r.Values, v)
	r.Median = Median(r.Values)
}

// Over returns r divided by other, round by round. It leaves out rounds in which either peer
// halted.
func (r *Row) Over(other *Row) (ratios []float64) {
	for i := range min(len(r.Values), len(other.Values)) {
		if r.Values[i] > 0 && other.Values[i] > 0 {
			ratios = append(ratios, r.Values[i]/other.Values[i])
		}
	}
	return ratios
}

// Median returns the median, or 0 if there are no values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Failures returns a line for each peer that failed.
func (r *Report) Failures() (all []string) {
	for _, s := range r.Scenarios {
		for _, line := range s.failures() {
			all = append(all, s.Name+": "+line)
		}
	}
	return all
}

func (s *Scenario) failures() (all []string) {
	for _, m := range s.Metrics {
		for _, row := range m.Rows {
			if row.Failed != "" {
				all = append(all, row.Name+": "+row.Failed)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Save writes results.json and the charts into a directory.
func (r *Report) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644)
	if table := r.libraries(); table != nil {
		err = cmp.Or(err, os.WriteFile(filepath.Join(dir, "libraries.md"), table, 0o644))
	}
	for _, c := range r.charts() {
		err = cmp.Or(err, os.WriteFile(filepath.Join(dir, c.file+".svg"), c.svg(), 0o644))
	}
	return err
}
