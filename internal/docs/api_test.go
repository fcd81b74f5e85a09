package docs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the listings in api/ anew")

// An exported name can change only together with its line in api/,
// where a reviewer sees the change.
func TestTheAPIIsTheOneListed(t *testing.T) {
	for _, m := range modules {
		t.Run(m.folder, func(t *testing.T) {
			var now []string
			for _, p := range load(t, m) {
				now = append(now, listing(p.types)...)
			}
			file := filepath.Join(root, "api", m.listing)
			if *update {
				if err := os.WriteFile(file, []byte(strings.Join(now, "\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			before := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(text), "\r", ""), "\n"), "\n")
			if diff := differences(before, now); len(diff) > 0 {
				t.Errorf("the API is not that of api/%s:\n\t%s\n"+
					"Removed and changed lines break programs that use them. If all of it is meant, run\n"+
					"\tgo test ./internal/docs -run API -update\n"+
					"commit the listing with the change, and tell of it in CHANGELOG.md.",
					m.listing, strings.Join(diff, "\n\t"))
			}
		})
	}
}

// differences returns the lines that are only in before, marked "-",
// and those only in now, marked "+".
func differences(before, now []string) []string {
	var diff []string
	for _, line := range before {
		if !slices.Contains(now, line) {
			diff = append(diff, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(before, line) {
			diff = append(diff, "+ "+line)
		}
	}
	if diff == nil && !slices.Equal(before, now) {
		diff = append(diff, "the same lines in another order, or twice")
	}
	return diff
}

// listing has a line, with its type, for each exported name of a package and for each exported
// field and method. It covers everything whose change can break a program, except behavior. It
// includes parameter names, because readers know parameters by them.
func listing(p *types.Package) []string {
	var lines []string
	add := func(format string, args ...any) {
		lines = append(lines, p.Path()+": "+fmt.Sprintf(format, args...))
	}
	qualify := types.RelativeTo(p)
	for _, name := range p.Scope().Names() { // sorted
		obj := p.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Const:
			add("%s = %s", types.ObjectString(obj, qualify), obj.Val().ExactString())
		case *types.TypeName:
			describe(obj, qualify, add)
		default:
			add("%s", types.ObjectString(obj, qualify))
		}
	}
	return lines
}

// describe adds a type, its fields and its methods, promoted ones included.
func describe(obj *types.TypeName, qualify types.Qualifier, add func(string, ...any)) {
	t := obj.Type()
	if obj.IsAlias() {
		add("%s", types.ObjectString(obj, qualify))
		return
	}
	name := obj.Name() + parameters(t, qualify)
	traits := ""
	if types.Comparable(t) {
		traits = ", comparable"
	}
	switch u := t.Underlying().(type) {
	case *types.Struct:
		add("type %s struct%s", name, traits)
		fields(obj.Name(), u, qualify, add)
	case *types.Interface:
		sealed := ""
		for m := range u.Methods() {
			if !m.Exported() {
				sealed = ", with unexported methods"
			}
		}
		add("type %s interface%s%s", name, traits, sealed)
	default:
		add("type %s %s", name, types.TypeString(u, qualify))
	}
	methods(obj.Name(), t, qualify, add)
}

// parameters returns the type parameters of a generic type.
func parameters(t types.Type, qualify types.Qualifier) string {
	named, ok := t.(*types.Named)
	if !ok || named.TypeParams().Len() == 0 {
		return ""
	}
	var all []string
	for p := range named.TypeParams().TypeParams() {
		all = append(all, p.Obj().Name()+" "+types.TypeString(p.Constraint(), qualify))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func fields(owner string, s *types.Struct, qualify types.Qualifier, add func(string, ...any)) {
	for i := range s.NumFields() {
		f := s.Field(i)
		inner, embedded := f.Type().Underlying().(*types.Struct)
		switch {
		case f.Exported():
			kind, tag := "field", ""
			if f.Embedded() {
				kind = "embedded field"
			}
			if s.Tag(i) != "" {
				tag = fmt.Sprintf(" %q", s.Tag(i))
			}
			add("%s %s.%s %s%s", kind, owner, f.Name(), types.TypeString(f.Type(), qualify), tag)
		case f.Embedded() && embedded:
			fields(owner, inner, qualify, add) // its fields are promoted
		}
	}
}

func methods(owner string, t types.Type, qualify types.Qualifier, add func(string, ...any)) {
	values := types.NewMethodSet(t)
	set := values
	if !types.IsInterface(t) {
		set = types.NewMethodSet(types.NewPointer(t))
	}
	for m := range set.Methods() {
		if !m.Obj().Exported() {
			continue
		}
		receiver := "*" + owner
		if values.Lookup(m.Obj().Pkg(), m.Obj().Name()) != nil {
			receiver = owner
		}
		signature := strings.TrimPrefix(types.TypeString(m.Type(), qualify), "func")
		add("method (%s) %s%s", receiver, m.Obj().Name(), signature)
	}
}

// A package, and the changes that its listing must or must not show.
const sample = `package sample

type Pool struct{ Name string; Size int; hidden bool }

func NewPool(size int) *Pool { return nil }
func (p *Pool) Add(id string, data []byte) error { return nil }
func (p Pool) Len() int { return 0 }

type Sink interface{ Put(id string) }
type Kind int

const First Kind = 0

var Err error
`

func TestEveryChangeOfTheAPIIsSeen(t *testing.T) {
	for _, change := range []struct{ name, old, new string }{
		{"a renamed method", "Add(id", "Append(id"},
		{"a changed parameter", "data []byte", "data string"},
		{"a renamed parameter", "id string, data", "name string, data"},
		{"another parameter", "size int) *Pool", "size int, more bool) *Pool"},
		{"a variadic parameter", "NewPool(size int)", "NewPool(size ...int)"},
		{"a changed result", "Len() int { return 0 }", "Len() int64 { return 0 }"},
		{"an added name", "var Err error", "var Err, Other error"},
		{"a removed name", "var Err error", ""},
		{"a name that is hidden now", "var Err error", "var err error"},
		{"a changed field", "Size int;", "Size int64;"},
		{"a removed field", "Size int;", ""},
		{"a renamed field", "Size int;", "Sum int;"},
		{"a tag", "Size int;", "Size int `json:\"size\"`;"},
		{"a struct that cannot be compared now", "hidden bool", "hidden []bool"},
		{"an embedded type", "hidden bool", "Kind"},
		{"a promoted method", "hidden bool", "Sink"},
		{"another method of an interface", "Put(id string)", "Put(id string); Close()"},
		{"an interface that others cannot implement now", "Put(id string)", "Put(id string); close()"},
		{"another receiver", "(p Pool)", "(p *Pool)"},
		{"another type", "Kind int", "Kind int8"},
		{"another value", "Kind = 0", "Kind = 1"},
		{"another type of a variable", "var Err error", "var Err any"},
		{"a type parameter", "type Kind int", "type Kind int; type List[T any] []T"},
	} {
		t.Run(change.name, func(t *testing.T) {
			if n := strings.Count(sample, change.old); n != 1 {
				t.Fatalf("the sample has %q %d times", change.old, n)
			}
			now := listingOf(t, strings.Replace(sample, change.old, change.new, 1))
			if diff := differences(listingOf(t, sample), now); len(diff) == 0 {
				t.Errorf("the listing does not show the change; it is still\n%s", strings.Join(now, "\n"))
			}
		})
	}
	for _, change := range []struct{ name, old, new string }{
		{"a hidden field", "hidden bool", "hidden int"},
		{"a hidden name", "var Err error", "var Err, err error"},
		{"other code", "return nil }\nfunc (p *Pool)", "return &Pool{} }\nfunc (p *Pool)"},
	} {
		now := listingOf(t, strings.Replace(sample, change.old, change.new, 1))
		if diff := differences(listingOf(t, sample), now); len(diff) > 0 {
			t.Errorf("%s does not change the API, but the listing differs: %q", change.name, diff)
		}
	}
}

func listingOf(t *testing.T, source string) []string {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "sample.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := typeCheck("sample", fset, []*ast.File{f})
	if err != nil {
		t.Fatal(err)
	}
	return listing(p)
}
