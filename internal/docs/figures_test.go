package docs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestREADMEHasTheMeasuredMemory: the READMEs give the memory of an idle connection as the last
// full run of bench measured it and wrote it to libraries.md.
func TestREADMEHasTheMeasuredMemory(t *testing.T) {
	kilobytes := make(map[string][2]string) // by library: without gcpool, with it
	row := regexp.MustCompile(`(?m)^\| (\w+) \|.*\| ([\d,]+) B → ([\d,]+) B, [^|]*\|$`)
	for _, found := range row.FindAllStringSubmatch(page(t, "bench/results/libraries.md"), -1) {
		var figures [2]string
		for i, s := range found[2:] {
			n, err := strconv.Atoi(strings.ReplaceAll(s, ",", ""))
			if err != nil {
				t.Fatal(err)
			}
			figures[i] = fmt.Sprintf("%.1f", float64(n)/1000)
		}
		kilobytes[found[1]] = figures
	}
	gorilla, coder, xnet := kilobytes["gorilla"], kilobytes["coder"], kilobytes["xnet"]
	for file, want := range map[string]string{
		"README.md": fmt.Sprintf("%s KB with gorilla, %s KB with coder and %s KB with x/net (%s, %s and %s KB without gcpool)",
			gorilla[1], coder[1], xnet[1], gorilla[0], coder[0], xnet[0]),
		"README.zh-CN.md": fmt.Sprintf("gorilla %s KB，coder %s KB，x/net %s KB （不用 gcpool 时是 %s、%s、%s KB）",
			gorilla[1], coder[1], xnet[1], gorilla[0], coder[0], xnet[0]),
	} {
		if !strings.Contains(strings.Join(strings.Fields(page(t, file)), " "), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
}
