package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// subject is the peer that the others are compared with.
const subject = "gcpool"

// Header writes the machine, the versions and the command of the run.
func (r *Report) Header(w io.Writer) {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d CPUs, %d MB, %s\n%s", m.CPU, m.Cores, m.MemoryMB, m.System, r.Go)
	for _, name := range slices.Sorted(maps.Keys(r.Modules)) {
		fmt.Fprintf(w, ", %s %s", strings.TrimPrefix(name, "github.com/"), r.Modules[name])
	}
	fmt.Fprintf(w, "\nServer and clients are two processes on this machine, joined by its loopback.\n")
	if r.Quick {
		fmt.Fprintf(w, "A quick run, with a tenth of the connections and messages: a smoke test, no measurement.\n")
	}
}

// Table writes a scenario's figures and verdicts.
func (s *Scenario) Table(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", s.Name, s.Load)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\t")
	for i, m := range s.Metrics {
		fmt.Fprintf(t, "%s\t", m.Name)
		if i == 0 && m.Row(subject) != nil && len(m.Rows) > 1 {
			fmt.Fprintf(t, "min..max\t%s is\t", subject)
		}
	}
	fmt.Fprintln(t)
	if len(s.Metrics) > 0 {
		for _, row := range s.Metrics[0].Rows {
			s.line(t, row)
		}
	}
	_ = t.Flush()
	for _, line := range s.failures() {
		fmt.Fprintf(w, "  FAILED: %s\n", line)
	}
	for _, v := range s.Verdicts {
		fmt.Fprintf(w, "  %s: %s. %s.\n", map[bool]string{true: "met", false: "NOT MET"}[v.Met], v.Target, v.Measured)
	}
}

// line writes one peer's figures.
func (s *Scenario) line(w io.Writer, first *Row) {
	fmt.Fprintf(w, "  %s\t", first.Name)
	if first.Failed != "" {
		fmt.Fprintln(w, "FAILED\t")
		return
	}
	for i, m := range s.Metrics {
		row := m.Row(first.Name)
		if row == nil || len(row.Values) == 0 {
			fmt.Fprint(w, "-\t")
			continue
		}
		fmt.Fprintf(w, "%s\t", m.Format(row.Median))
		if us := m.Row(subject); i == 0 && us != nil && len(m.Rows) > 1 {
			fmt.Fprintf(w, "%s..%s\t%s\t", m.Format(slices.Min(row.Values)), m.Format(slices.Max(row.Values)), ratio(us, row))
		}
	}
	fmt.Fprintln(w)
}

// ratio returns the median of the ratios of two rows, round by round.
func ratio(us, row *Row) string {
	if us == row || us.Failed != "" || len(us.Over(row)) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fx", Median(us.Over(row)))
}

// Format returns a figure with its unit.
func (m *Metric) Format(v float64) string {
	if v <= 0 && m.Unit != "" {
		return "halted"
	}
	digits := 0
	if v < 100 {
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	whole, part, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if part != "" {
		whole += "." + part
	}
	return strings.TrimSpace(whole + " " + m.Unit)
}
