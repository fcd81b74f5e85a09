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

// What pages leave to their readers: here a cookie is the session.
const yours = `package main

import "net/http"

func userOf(r *http.Request) string {
	if cookie, err := r.Cookie("user"); err == nil {
		return cookie.Value
	}
	return ""
}
`

func TestProgramsInMarkdownCompile(t *testing.T) {
	load(t, modules[0]) // for what they import
	found := 0
	for _, file := range markdown(t) {
		for _, source := range printed(t, file) {
			found++
			if err := compile(source, yours); err != nil {
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
