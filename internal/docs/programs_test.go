package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A program that a page shows whole.
var program = regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```$")

func TestProgramsInMarkdownCompile(t *testing.T) {
	if _, err := os.Stat(libraries); err != nil {
		t.Skip("examples/adapters is not here")
	}
	imported, err := goList(filepath.Join("examples", "adapters"), "-deps", ".")
	if err != nil {
		t.Fatal(err)
	}
	remember(imported)
	found := 0
	for _, file := range markdown(t) {
		for _, source := range printed(t, file) {
			found++
			if err := compile(source); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if found == 0 {
		t.Error("found no programs, though README.md has one")
	}
	if compile("package main\n\nfunc main() { undefined() }\n") == nil {
		t.Error("a broken program passes the check")
	}
}

// printed returns the programs that a page shows.
func printed(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, m := range program.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\r\n", "\n"), -1) {
		sources = append(sources, m[1])
	}
	return sources
}

// compile type-checks a program of one file.
func compile(source string) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "program.go", source, 0)
	if err != nil {
		return err
	}
	_, err = typeCheck("main", fset, []*ast.File{f})
	return err
}
