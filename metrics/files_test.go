package metrics_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
)

// names returns the names of all metrics, and their series' names: a histogram
// has three kinds.
func names(t *testing.T) (metrics, series []string) {
	t.Helper()
	_, registry := registered(t, "users")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		name := family.GetName()
		metrics = append(metrics, name)
		if family.Metric[0].Histogram == nil {
			series = append(series, name)
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			series = append(series, name+suffix)
		}
	}
	return metrics, series
}

// mentioned returns the names of the metrics in a text, each name once.
func mentioned(text string) []string {
	all := regexp.MustCompile(`\bgcpool_\w+`).FindAllString(text, -1)
	slices.Sort(all)
	return slices.Compact(all)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A dashboard has the parts of grafana.json that these tests check.
type dashboard struct {
	ID         *int
	Templating struct{ List []variable }
	Panels     []panel
}

type variable struct {
	Name, Type string
	Query      any
	Datasource source
}

type source struct{ UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Datasource  source
		Expr, RefID string
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions returns every query of the dashboard, with values in place of Grafana's
// variables.
func (d *dashboard) expressions() []string {
	variables := strings.NewReplacer("$job", "gcpool", "$instance", ".*", "$pool", "users|chat", "$__rate_interval", "1m")
	var all []string
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, variables.Replace(target.Expr))
		}
	}
	return all
}

func TestDashboardAndAlertsNameMetricsThatExist(t *testing.T) {
	t.Parallel()
	metrics, series := names(t)
	board := readDashboard(t)
	var variables string
	for _, v := range board.Templating.List {
		variables += fmt.Sprintln(v.Query)
	}
	for what, text := range map[string]string{
		"grafana.json":                 strings.Join(board.expressions(), "\n"),
		"the variables":                variables,
		"the expressions of the rules": strings.Join(rules(t, "expr"), "\n"),
		"alerts_test.yml":              read(t, "alerts_test.yml"),
	} {
		found := mentioned(text)
		if len(found) == 0 {
			t.Errorf("no metric in %s", what)
		}
		for _, name := range found {
			if !slices.Contains(series, name) {
				t.Errorf("%s: there is no %s", what, name)
			}
		}
	}
	shown := mentioned(strings.Join(board.expressions(), "\n"))
	for _, name := range series {
		if !slices.Contains(shown, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
	if found := mentioned(read(t, "README.md")); !slices.Equal(found, metrics) {
		t.Errorf("README.md has %v\nand the collector %v", found, metrics)
	}
}

// TestDashboardCanBeImported: Grafana asks for the data source on import, the file has no id
// of another Grafana, and no panel overlaps another.
func TestDashboardCanBeImported(t *testing.T) {
	t.Parallel()
	board := readDashboard(t)
	if board.ID != nil || len(board.Templating.List) == 0 {
		t.Fatalf("id %v, %d variables", board.ID, len(board.Templating.List))
	}
	if v := board.Templating.List[0]; v.Name != "datasource" || v.Type != "datasource" || v.Query != "prometheus" {
		t.Errorf("the first variable is %+v", v)
	}
	for _, v := range board.Templating.List[1:] {
		if v.Datasource.UID != "${datasource}" {
			t.Errorf("variable %s asks %q", v.Name, v.Datasource.UID)
		}
	}
	cells, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d, %q", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := cells[at]; other != "" || at[0] >= 24 {
					t.Fatalf("%q lies on %q at %v", p.Title, other, at)
				}
				cells[at] = p.Title
			}
		}
		if p.Type != "row" {
			checkPanel(t, p)
		}
	}
}

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
		t.Errorf("%q is without a description, a unit, the data source or a query", p.Title)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		if refs[target.RefID] || target.Datasource.UID != "${datasource}" {
			t.Errorf("query %q of %q", target.RefID, p.Title)
		}
		refs[target.RefID] = true
		if strings.Count(target.Expr, `pool=~"$pool"`) != len(regexp.MustCompile(`gcpool_\w+`).FindAllString(target.Expr, -1)) {
			t.Errorf("%q has a selector that does not heed the variables: %s", p.Title, target.Expr)
		}
	}
}

// rules returns a key's value in each rule of alerts.yml, with its
// continuation lines.
func rules(t *testing.T, key string) []string {
	t.Helper()
	var all []string
	for _, rule := range strings.Split(read(t, "alerts.yml"), "- alert:")[1:] {
		found := regexp.MustCompile(`(?m)^( +)` + key + `: (.*(?:\n\s+>.*)*)`).FindStringSubmatch(rule)
		if found == nil {
			t.Fatalf("no %s in the rule%s", key, rule)
		}
		all = append(all, found[2])
	}
	return all
}

func TestEachRuleSaysWhenHowBadAndWhat(t *testing.T) {
	t.Parallel()
	if n := len(rules(t, "expr")); n != 5 {
		t.Errorf("%d rules", n)
	}
	for key, form := range map[string]string{"for": `^[1-9]\d*m$`, "severity": `^(warning|critical)$`, "summary": `\{\{ \$labels\.pool \}\}`} {
		for _, value := range rules(t, key) {
			if !regexp.MustCompile(form).MatchString(value) {
				t.Errorf("%s: %s", key, value)
			}
		}
	}
}

// promtool runs Prometheus's own checks, if promtool is installed.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		const how = "promtool is not in PATH; Debian has it in the package prometheus"
		if os.Getenv("GCPOOL_REQUIRE_TOOLS") == "1" {
			t.Fatal(how)
		}
		t.Skip(how + " (GCPOOL_REQUIRE_TOOLS=1 makes this a failure)")
	}
	command := exec.CommandContext(t.Context(), path, args...)
	command.Stdin = strings.NewReader(stdin)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	t.Parallel()
	promtool(t, "", "check", "rules", "--lint-fatal", "alerts.yml")
}

func TestRulesFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool(t, "", "test", "rules", "alerts_test.yml")
}

// TestPromtoolAcceptsTheQueries lets promtool parse each query of the dashboard, as the
// expression of a rule.
func TestPromtoolAcceptsTheQueries(t *testing.T) {
	t.Parallel()
	board, rules := readDashboard(t), map[string]any{}
	var all []map[string]string
	for i, expr := range board.expressions() {
		all = append(all, map[string]string{"record": fmt.Sprint("query:", i), "expr": expr})
	}
	rules["groups"] = []any{map[string]any{"name": "queries", "rules": all}}
	text, err := json.Marshal(rules) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", "--lint-fatal", file)
}

func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	t.Parallel()
	_, registry := registered(t, "users", "chat")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, text.String(), "check", "metrics")
}
