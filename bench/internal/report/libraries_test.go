package report

import (
	"strings"
	"testing"
)

// measured is a report of one scenario with gorilla alone, gorilla with gcpool,
// and a library with only one of the two.
func measured() *Report {
	m := &Metric{Name: "messages/s", Higher: true, Rows: []*Row{
		{Name: "gcpool", Library: "xnet"}, {Name: "gorilla"}, {Name: "gorilla+gcpool", Library: "gorilla"},
	}}
	for i, values := range [][]float64{{9000, 9000, 9000}, {1000, 2000, 4000}, {8000, 8000, 8000}} {
		for _, v := range values {
			m.Rows[i].Add(v)
		}
	}
	return &Report{Scenarios: []*Scenario{{Name: "fanout", Load: "64 B", Metrics: []*Metric{m}}}}
}

func TestTheTableOfLibrariesHasTheMedianOfTheRoundsRatios(t *testing.T) {
	got := string(measured().libraries())
	want := "| library | 64 B, messages/s |\n|---|---|\n| gorilla | 2,000 → 8,000, **4.00x** |\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTheBestPeerIsNeverOneWithGcpool(t *testing.T) {
	if best := measured().Scenarios[0].Metrics[0].Best(); best.Name != "gorilla" {
		t.Errorf("the best peer is %s", best.Name)
	}
}

func TestTheChartOfLibrariesHasBothBarsUnderTheLibrarysName(t *testing.T) {
	var drawn string
	for _, c := range measured().charts() {
		if c.file == "libraries" {
			drawn = string(c.svg())
		}
	}
	for _, part := range []string{">gorilla<", ">8,000<", ">2,000<", "with gcpool; paler: the library alone"} {
		if !strings.Contains(drawn, part) {
			t.Errorf("%q is not in the chart", part)
		}
	}
	if strings.Contains(drawn, "xnet") {
		t.Error("a library of which one half is missing is in the chart")
	}
}
