package e2e

import (
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// TestGrafanaKnowsEachFieldOfTheDashboard reads metrics/grafana.json as Grafana's
// own schema has it, the panels' and the queries' options included: an unknown
// field, a missing one and one of another type are errors. It is here since
// metrics, which programs import, should not require the schema.
func TestGrafanaKnowsEachFieldOfTheDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../metrics/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	plugins.RegisterDefaultPlugins()
	//lint:ignore SA1019 the file is of the older schema, which Grafana 10 can import too
	var d grafana.Dashboard
	if err := d.UnmarshalJSONStrict(text); err != nil && err.Error() != "" { // an empty list of errors is not nil
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil && err.Error() != "" {
		t.Error(err)
	}
	if len(d.Panels) == 0 {
		t.Error("it has no panels")
	}
}
