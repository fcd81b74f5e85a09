package migrating

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const document = "../migrating.md"

var update = flag.Bool("update", false, "write the code into migrating.md anew")

// A code block with what stands above it: <!-- file: region -->.
var block = regexp.MustCompile("(?s)(?:<!-- ([^ ]+): ([^ ]+) -->\n)?```go\n(.*?)```\n")

// The document's code is that of the files here, which are compiled and tested.
func TestTheDocumentShowsTheTestedCode(t *testing.T) {
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	blocks := block.FindAllStringSubmatch(text, -1)
	if len(blocks) < 6 {
		t.Errorf("found %d blocks of code, want one before and one after for each of three", len(blocks))
	}
	for _, b := range blocks {
		file, name, shown := b[1], b[2], b[3]
		code, err := region(file, name)
		switch {
		case err != nil:
			t.Errorf("%v: %.60q", err, shown)
		case *update:
			head := strings.TrimSuffix(b[0], shown+"```\n")
			text = strings.Replace(text, b[0], head+code+"```\n", 1)
		case shown != code:
			t.Errorf("%s differs from region %s of %s; run go test . -run Document -update\n%s",
				document, name, file, shown)
		}
	}
	if *update {
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// region returns what stands between "// begin name" and "// end name".
func region(file, name string) (string, error) {
	if file == "" {
		return "", fmt.Errorf("no <!-- file: region --> above a block of code")
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	_, rest, began := strings.Cut(string(content), "// begin "+name+"\n")
	code, _, ended := strings.Cut(rest, "// end "+name+"\n")
	if !began || !ended {
		return "", fmt.Errorf("%s has no region %s", file, name)
	}
	return strings.Trim(code, "\n") + "\n", nil
}
