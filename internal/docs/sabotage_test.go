package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSabotageNamesWhatIsThere: each row of SABOTAGE.md names a function
// found in the file's code, not only in a comment, and tests that exist
// in some file. Rows about the cluster name files in its folder.
func TestSabotageNamesWhatIsThere(t *testing.T) {
	comments := regexp.MustCompile(`//.*`)
	rows := regexp.MustCompile("`([\\w./]+\\.go)` (?:\\w+\\.)?(\\w+)").FindAllStringSubmatch(page(t, "torture/SABOTAGE.md"), -1)
	if len(rows) < 500 {
		t.Errorf("SABOTAGE.md has only %d rows", len(rows))
	}
	for _, row := range rows {
		file, name := filepath.Join(root, row[1]), row[2]
		if _, err := os.Stat(file); err != nil {
			file = filepath.Join(root, "cluster", row[1])
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("there is no file %s", row[1])
		} else if !regexp.MustCompile(`\b` + name + `\b`).Match(comments.ReplaceAll(source, nil)) {
			t.Errorf("%s has no %s", row[1], name)
		}
	}
	var tests strings.Builder
	err := filepath.WalkDir(root, func(file string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		source, err := os.ReadFile(file)
		tests.Write(source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\b(Test|Fuzz)[A-Z]\w+`).FindAllString(page(t, "torture/SABOTAGE.md"), -1) {
		if !strings.Contains(tests.String(), "func "+name) { // the name may stand for all tests that begin with it
			t.Errorf("no file has %s", name)
		}
	}
}
