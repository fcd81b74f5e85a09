package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// phrases make a sentence hard to read at first sight; a plainer wording always exists.
var phrases = regexp.MustCompile(`(?i)\b(as well|that of|those of|one that|by itself|the others'|which is that)\b`)

// written lists the documents that follow this rule.
var written = []string{
	"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md", "cluster/README.md",
	"docs/architecture.md", "docs/migrating.md", "examples/recipes/README.md", "metrics/README.md",
	"torture/SABOTAGE.md",
}

func TestDocumentsAvoidPhrasesThatNeedASecondReading(t *testing.T) {
	for _, file := range written {
		for i, line := range prose(page(t, file)) {
			if found := phrases.FindString(line); found != "" {
				t.Errorf("%s:%d: %q in %q", file, i+1, found, strings.TrimSpace(line))
			}
		}
		if !slices.Contains(markdown(t), file) {
			t.Errorf("there is no %s", file)
		}
	}
	for _, p := range load(t, modules[0]) {
		for _, d := range p.documented() {
			if found := phrases.FindString(strings.ReplaceAll(d.text, "\n", " ")); found != "" {
				t.Errorf("%s: %q in the comment of %s", p.place(d.pos), found, d.name)
			}
		}
	}
	if !phrases.MatchString("It is called as that of WithUndelivered.") {
		t.Error("the expression misses a phrase")
	}
}
