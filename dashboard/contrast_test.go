package dashboard_test

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/dashboard"
)

// TestColoursHaveContrast: WCAG 2.2 AA wants 4.5:1 for text (1.4.3), and 3:1 for
// lines and the edges of controls (1.4.11), in light and in dark.
func TestColoursHaveContrast(t *testing.T) {
	t.Parallel()
	css := ask(dashboard.Handler(nil), http.MethodGet, "/?file=dashboard.css").Body.String()
	light, dark, ok := strings.Cut(css, "@media (prefers-color-scheme: dark)")
	dark, _, _ = strings.Cut(dark, "* {")
	if !ok {
		t.Fatal("no dark colors")
	}
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colors := map[string]float64{}
		for _, found := range regexp.MustCompile(`--(\w+): #(\w+);`).FindAllStringSubmatch(text, -1) {
			colors[found[1]] = luminance(t, found[2])
		}
		for pair, least := range map[string]float64{
			"ink bg": 4.5, "ink card": 4.5, "soft bg": 4.5, "soft card": 4.5, "accent bg": 4.5, "accent card": 4.5,
			"bad card": 4.5, "edge bg": 3, "edge card": 3, "good card": 3,
			"s0 card": 3, "s1 card": 3, "s2 card": 3, "s3 card": 3, "s4 card": 3, "s5 card": 3,
		} {
			var a, b string
			fmt.Sscan(pair, &a, &b)
			over, under := max(colors[a], colors[b]), min(colors[a], colors[b])
			if ratio := (over + 0.05) / (under + 0.05); ratio < least || colors[a] == 0 {
				t.Errorf("%s: %s has %.2f:1, want %v:1", scheme, pair, ratio, least)
			}
		}
	}
}

// luminance is the relative luminance of WCAG 2.2, of a color as #rgb or #rrggbb.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = regexp.MustCompile(`.`).ReplaceAllString(hex, "$0$0")
	}
	var channels [3]uint8
	if _, err := fmt.Sscanf(hex, "%02x%02x%02x", &channels[0], &channels[1], &channels[2]); err != nil {
		t.Fatalf("color %q: %v", hex, err)
	}
	var linear [3]float64
	for i, c := range channels {
		if v := float64(c) / 255; v <= 0.04045 {
			linear[i] = v / 12.92
		} else {
			linear[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}
