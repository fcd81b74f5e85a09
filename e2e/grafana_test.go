package e2e

import (
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// TestGrafanaKnowsEachFieldOfTheDashboard reads metrics/grafana.json with
// Grafana's own schema, including the options of panels and queries. An unknown
// field, a missing field, or a field of another type is an error. The test is
// here so that metrics, which programs import, does not require the schema.
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
		t.Error("the dashboard has no panels")
	}
}
