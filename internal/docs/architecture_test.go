package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var architecture = filepath.Join(root, "docs", "architecture.md")

// mechanism is a row of docs/architecture.md: its name, files, lines and reason.
var mechanism = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]*\.go) \| (\d+) \| (.+) \|$`)

// TestArchitectureCountsEachMechanism: every file of the library is in exactly one row, and the
// row's line count is right.
func TestArchitectureCountsEachMechanism(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	now := mechanism.ReplaceAllStringFunc(string(text), func(row string) string {
		cells := mechanism.FindStringSubmatch(row)
		lines := 0
		for _, file := range strings.Fields(cells[2]) {
			if listed[file] {
				t.Errorf("%s is in two rows", file)
			}
			listed[file] = true
			lines += codeLines(t, filepath.Join(root, filepath.FromSlash(file)))
		}
		return fmt.Sprintf("| %s | %s | %d | %s |", cells[1], cells[2], lines, cells[4])
	})
	for _, pattern := range []string{"*.go", "internal/*/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name, _ := filepath.Rel(root, file)
			if name = filepath.ToSlash(name); !strings.HasSuffix(name, "_test.go") && !listed[name] {
				t.Errorf("docs/architecture.md has no row for %s", name)
			}
		}
	}
	if *update {
		if err := os.WriteFile(architecture, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if now != string(text) {
		t.Error("docs/architecture.md is stale: go test ./internal/docs -run Architecture -update")
	}
}

// codeLines counts the lines that have a token.
func codeLines(t *testing.T, file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return 0
	}
	return tokenLines(text)
}

func tokenLines(text []byte) int {
	set := token.NewFileSet()
	source := set.AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(source, text, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && literal == "\n" {
			continue
		}
		for i := range 1 + strings.Count(literal, "\n") {
			lines[source.Line(pos)+i] = true
		}
	}
}

// TestTheLibraryIsInSmallParts: counting lines of code, a file has at most 300, a function 40,
// and a package of internal 800. A type has at most 20 methods.
func TestTheLibraryIsInSmallParts(t *testing.T) {
	for _, pattern := range []string{"*.go", "internal/*/*.go", "cluster/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", pattern, err)
		}
		packages, methods := map[string]int{}, map[string]int{}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			n, dir := codeLines(t, file), filepath.Dir(file)
			if packages[dir] += n; n > 300 {
				t.Errorf("%s has %d lines", file, n)
			}
			for name, lines := range functions(t, file) {
				if lines > 40 {
					t.Errorf("%s: %s has %d lines", file, name, lines)
				}
				if receiver, _, ok := strings.Cut(name, "."); ok {
					methods[dir+" "+receiver]++
				}
			}
		}
		for dir, n := range packages {
			if n > 800 && strings.HasPrefix(pattern, "internal") {
				t.Errorf("%s has %d lines", dir, n)
			}
		}
		for receiver, n := range methods {
			if n > 20 {
				t.Errorf("%s has %d methods", receiver, n)
			}
		}
	}
}

// functions returns the number of code lines of each function in a file. A method's name starts
// with its receiver's type and a dot.
func functions(t *testing.T, file string) map[string]int {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = strings.TrimPrefix(types.ExprString(f.Recv.List[0].Type), "*") + "." + name
		}
		all[name] = tokenLines(text[set.Position(f.Pos()).Offset:set.Position(f.End()).Offset])
	}
	return all
}

// TestPackagesImportDownward: a package of internal imports only
// packages listed below it in docs/architecture.md.
func TestPackagesImportDownward(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	place := map[string]int{}
	for i, row := range mechanism.FindAllStringSubmatch(string(text), -1) {
		for _, file := range strings.Fields(row[2]) {
			place[filepath.Dir(file)] = i
		}
	}
	for dir, at := range place {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				imported, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "github.com/nulijiabei/gcpool/")
				if below, known := place[imported]; ours && (!known || below <= at) {
					t.Errorf("%s imports %s, which is not below it", dir, imported)
				}
			}
		}
	}
}
