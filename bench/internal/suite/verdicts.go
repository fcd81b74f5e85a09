package suite

import (
	"fmt"
	"slices"

	"github.com/nulijiabei/gcpool/bench/internal/report"
)

// best compares the subject with the best peer of a metric, round by round.
func best(r *report.Scenario, m *report.Metric, target float64, text string) {
	us, peer := m.Row(subject), m.Best()
	if us == nil {
		return
	}
	v := report.Verdict{Target: text}
	switch {
	case us.Failed != "":
		v.Measured = "it failed"
	case peer == nil:
		v.Measured = "there is no peer to compare with"
	default:
		against(&v, us, peer, target, m.Higher, peer.Name)
	}
	r.Verdicts = append(r.Verdicts, v)
}

// versus compares the subject with a named peer.
func versus(r *report.Scenario, m *report.Metric, name string, target float64, text string) {
	us, peer := m.Row(subject), m.Row(name)
	if us == nil || peer == nil {
		return
	}
	v := report.Verdict{Target: text}
	against(&v, us, peer, target, m.Higher, name)
	r.Verdicts = append(r.Verdicts, v)
}

// itself compares the library of each peer that uses gcpool with the same library alone. The text
// gets the library's name.
func itself(r *report.Scenario, m *report.Metric, target float64, text string) {
	for _, p := range m.Pairs() {
		v := report.Verdict{Target: fmt.Sprintf(text, p.Alone.Name)}
		against(&v, p.With, p.Alone, target, m.Higher, p.Alone.Name)
		r.Verdicts = append(r.Verdicts, v)
	}
}

// grows judges how much the subject's figures grow from one metric to another.
func grows(r *report.Scenario, from, to *report.Metric, text string) {
	if us, more := from.Row(subject), to.Row(subject); us != nil && more != nil {
		v := report.Verdict{Target: text}
		against(&v, more, us, 1.5, false, "")
		r.Verdicts = append(r.Verdicts, v)
	}
}

// against fills v with the ratio of two rows.
func against(v *report.Verdict, us, peer *report.Row, target float64, atLeast bool, name string) {
	v.Ratios = us.Over(peer)
	if len(v.Ratios) == 0 {
		v.Measured = "there is no pair of figures"
		return
	}
	ratio := report.Median(v.Ratios)
	v.Met = atLeast && ratio >= target || !atLeast && ratio <= target
	if name != "" {
		name = " " + name
	}
	v.Measured = fmt.Sprintf("Measured %.2fx%s (%.2f to %.2f)", ratio, name, slices.Min(v.Ratios), slices.Max(v.Ratios))
}
