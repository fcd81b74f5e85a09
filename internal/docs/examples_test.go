package docs

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Methods without an Example of their own, each with the Example that calls it.
var within = map[string]string{
	"Pool.SetCluster":   "Cluster",
	"ConnPool.Len":      "ConnPool_All",
	"ConnPool.Name":     "Pool_GetConn",
	"StreamPool.Len":    "Pool_Start",
	"StreamPool.Cap":    "Pool_Start",
	"StreamPool.Name":   "Pool_GetStream",
	"Cluster.Changed":   "Cluster",
	"Cluster.Forward":   "Cluster",
	"Cluster.Broadcast": "Cluster",

	"WithName":    "Join",
	"WithPrefix":  "Join",
	"WithTimeout": "Join",
	"WithLogger":  "Join",
	"Node.Leave":  "Join",
	"Node.Err":    "Join",
	"Node.Name":   "Node",
	"Node.Stats":  "Node",
	"Node.Where":  "Node",
	"Node.Online": "Node",
}

// Each function and method of the modules that users import has an
// Example, which the compiler checks.
func TestEveryFunctionHasAnExample(t *testing.T) {
	for _, m := range modules {
		t.Run(m.folder, func(t *testing.T) {
			for _, p := range load(t, m) {
				examples := examplesOf(t, p.dir)
				for _, d := range p.documented() {
					if !p.calls(d.name) {
						continue
					}
					if why := notShown(examples, d.name); why != "" {
						t.Errorf("%s: %s", p.place(d.pos), why)
					}
				}
			}
		})
	}
}

// Each other exported name appears in the code of an Example, so that pkg.go.dev shows a use of it.
func TestEveryNameIsUsedInAnExample(t *testing.T) {
	for _, m := range modules {
		t.Run(m.folder, func(t *testing.T) {
			for _, p := range load(t, m) {
				code := ""
				for name, example := range examplesOf(t, p.dir) {
					code += name + "\n" + example + "\n"
				}
				code += p.results(t)
				for _, name := range p.types.Scope().Names() {
					if !token.IsExported(name) || p.calls(name) {
						continue
					}
					if !regexp.MustCompile(`(?m)\b` + p.name + `\.` + name + `\b|^` + name + `(_|$)`).MatchString(code) {
						t.Errorf("no Example of %s uses %s", p.path, name)
					}
				}
			}
		})
	}
}

// results has a line for each type that a function with an Example returns, because pkg.go.dev
// shows that Example under the type.
func (l *loaded) results(t *testing.T) (lines string) {
	examples := examplesOf(t, l.dir)
	for _, d := range l.documented() {
		if !l.calls(d.name) || notShown(examples, d.name) != "" {
			continue
		}
		for _, f := range l.files {
			for _, decl := range f.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.Name == d.name[strings.Index(d.name, ".")+1:] && fn.Type.Results != nil {
					for _, r := range fn.Type.Results.List {
						lines += l.name + "." + strings.Trim(types.ExprString(r.Type), "*[]") + "\n"
					}
				}
			}
		}
	}
	return lines
}

// calls reports whether a name is a function or a method.
func (l *loaded) calls(name string) bool {
	_, function := l.types.Scope().Lookup(name).(*types.Func)
	return function || strings.Contains(name, ".")
}

func notShown(examples map[string]string, name string) string {
	own := strings.ReplaceAll(name, ".", "_")
	if _, ok := examples[own]; ok {
		return ""
	}
	other, ok := within[name]
	if !ok {
		return "there is no Example" + own
	}
	method := name[strings.Index(name, ".")+1:]
	if !strings.Contains(examples[other], method+"(") {
		return "Example" + other + " does not show " + name
	}
	return ""
}

// examplesOf returns the code of the examples in a folder, by the name that each one shows. An
// Example with a suffix counts for the name before the suffix.
func examplesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	examples := make(map[string]string)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, file, source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range doc.Examples(f) {
			node := e.Code
			if _, whole := node.(*ast.File); whole { // go/doc shows the whole file
				node = f
			}
			if e.Output == "" && !e.EmptyOutput {
				t.Errorf("%s: Example%s is not run, because it has no Output", file, e.Name)
			}
			code := source[fset.Position(node.Pos()).Offset:fset.Position(node.End()).Offset]
			examples[strings.TrimSuffix(e.Name, "_"+e.Suffix)] += string(code)
		}
	}
	return examples
}
