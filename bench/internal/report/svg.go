package report

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"
)

// chart is a bar chart with one or two bars for each peer.
type chart struct {
	file, title, note string
	metrics           []*Metric
}

// charts returns the charts of the scenarios that the run had.
func (r *Report) charts() (all []chart) {
	names := map[string][]string{
		"broadcast": {"until the last"},
		"latency":   {"p50 at 100000/s", "p99 at 100000/s"},
		"stalled":   {"messages/s", "with stalled"},
		"idle":      {"heap + stacks/connection"},
		"fanout":    {"messages/s"},
		"fanout1k":  {"messages/s"},
		"fanout8k":  {"messages/s"},
		"burst":     {"messages/s"},
	}
	for _, s := range r.Scenarios {
		c := chart{file: s.Name, title: s.Name, note: s.Load}
		for _, name := range names[s.Name] {
			if m := s.Metric(name); len(m.Rows) > 0 {
				c.metrics = append(c.metrics, m)
			}
		}
		if len(c.metrics) > 0 {
			all = append(all, c)
		}
		if s.Name == "fanout" {
			all = append(all, librariesChart(s.Metric("messages/s"), s.Load)...)
		}
	}
	return all
}

// The dimensions of a chart, in pixels.
const (
	chartWidth = 720
	chartLeft  = 122
	chartBars  = 420 // the longest bar
	chartTop   = 74
	barHeight  = 14
	barGap     = 10
)

// style makes the colors follow the reader's choice of light or dark.
const style = `<style>
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-size:16px;font-weight:600}.note{fill:#59636e}.name{text-anchor:end}
.us{fill:#0969da}.peer{fill:#8c959f}.limit{fill:#d0d7de}.second{opacity:.55}.paper{fill:#fff}
@media(prefers-color-scheme:dark){.paper{fill:#0d1117}text{fill:#f0f6fc}.note{fill:#9198a1}
.us{fill:#4493f8}.peer{fill:#656c76}.limit{fill:#3d444d}}
</style>`

// svg draws the chart, the best peer first and the limits last.
func (c chart) svg() []byte {
	first := c.metrics[0]
	rows := slices.Clone(first.Rows)
	slices.SortStableFunc(rows, func(a, b *Row) int { return cmp.Or(order(a)-order(b), by(first, a, b)) })
	var longest float64
	for _, m := range c.metrics {
		for _, r := range m.Rows {
			if !r.Limit {
				longest = max(longest, r.Median)
			}
		}
	}
	each := len(c.metrics)*barHeight + barGap
	height := chartTop + len(rows)*each + 6
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="%s">`+"\n%s\n"+
		`<rect class="paper" width="100%%" height="100%%" rx="6"/>`+"\n",
		chartWidth, height, html.EscapeString(c.title+": "+c.note), style)
	var legend []string
	for _, m := range c.metrics {
		legend = append(legend, m.Name)
	}
	better := map[bool]string{true: "more is better", false: "less is better"}[first.Higher]
	fmt.Fprintf(&b, `<text class="title" x="16" y="26">%s: %s</text>`+"\n",
		html.EscapeString(c.title), html.EscapeString(strings.Join(legend, "; paler: ")))
	fmt.Fprintf(&b, `<text class="note" x="16" y="48">%s; %s</text>`+"\n", html.EscapeString(c.note), better)
	for i, r := range rows {
		c.bars(&b, r, chartTop+i*each, longest)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// bars draws one peer's bars.
func (c chart) bars(b *bytes.Buffer, first *Row, top int, longest float64) {
	fmt.Fprintf(b, `<text class="name" x="%d" y="%d">%s</text>`+"\n",
		chartLeft-8, top+len(c.metrics)*barHeight/2+5, html.EscapeString(first.Name))
	for i, m := range c.metrics {
		y := top + i*barHeight
		row := m.Row(first.Name)
		text, width, class := "failed", 0.0, class(cmp.Or(row, first))
		if row != nil && row.Failed == "" {
			text, width = m.Format(row.Median), chartBars*min(1, row.Median/longest)
		}
		if row != nil && row.Median > longest { // a limit beyond the scale
			text += " (off the scale)"
		}
		second := map[bool]string{true: " second"}[i > 0]
		fmt.Fprintf(b, `<rect class="%s%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/><text x="%.1f" y="%d">%s</text>`+"\n",
			class, second, chartLeft, y, max(1, width), barHeight-1, chartLeft+width+6, y+barHeight-3, html.EscapeString(text))
	}
}

func class(r *Row) string {
	switch {
	case r.Limit:
		return "limit"
	case r.Library != "":
		return "us"
	}
	return "peer"
}

// order puts limits last, and failures just ahead of them.
func order(r *Row) int {
	switch {
	case r.Limit:
		return 2
	case r.Failed != "":
		return 1
	}
	return 0
}

// by compares two rows, the better one first.
func by(m *Metric, a, b *Row) int {
	if m.Higher {
		a, b = b, a
	}
	return cmp.Compare(a.Median, b.Median)
}
