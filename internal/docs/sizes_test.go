package docs

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamplesAreShort keeps the examples that readers copy to a length that they read first.
func TestExamplesAreShort(t *testing.T) {
	recipes, err := filepath.Glob(filepath.Join(root, "examples", "recipes", "*", "main.go"))
	if err != nil || len(recipes) == 0 {
		t.Fatalf("%d recipes, %v", len(recipes), err)
	}
	list := page(t, filepath.Join("examples", "recipes", "README.md"))
	limits := map[string]int{filepath.Join(root, "examples", "push", "main.go"): 200}
	for _, file := range recipes {
		limits[file] = 120
		if name := filepath.Base(filepath.Dir(file)); !strings.Contains(list, "]("+name+"/main.go)") {
			t.Errorf("examples/recipes/README.md does not list %s", name)
		}
	}
	for file, limit := range limits {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(source, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, more than %d", file, n, limit)
		}
		head, _, _ := strings.Cut(string(source), "package main")
		if !strings.Contains(head, "//\tgo run ./examples/") && !strings.Contains(head, " go run ./examples/") {
			t.Errorf("%s does not begin with the command that runs it", file)
		}
	}
}
