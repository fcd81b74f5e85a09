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

// What pages leave to their readers.
const yours = `package main

import "net/http"

func userOf(*http.Request) string { return "" }
`

func TestProgramsInMarkdownCompile(t *testing.T) {
	load(t, modules[0]) // for what they import
	found := 0
	for _, file := range markdown(t) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range program.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\r\n", "\n"), -1) {
			found++
			if err := compile(m[1], yours); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if found == 0 {
		t.Error("found none, though README.md has one")
	}
	if compile("package main\n\nfunc main() { undefined() }\n") == nil {
		t.Error("a program that does not compile passes")
	}
}

// compile checks the files of a program.
func compile(sources ...string) error {
	fset := token.NewFileSet()
	var files []*ast.File
	for _, source := range sources {
		f, err := parser.ParseFile(fset, "program.go", source, 0)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	_, err := typeCheck("main", fset, files)
	return err
}
