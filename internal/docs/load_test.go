// Package docs checks what the repository says about itself. Every exported name is listed in
// api/, has a doc comment whose links resolve, and appears in an Example. Every link in a
// Markdown file leads somewhere. The server printed in the READMEs serves only its users, and
// the client there obeys the close codes. Examples are short, and those that connect to NATS
// set PingInterval. The documents avoid some phrases.
package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// root is the repository's root folder, relative to this package.
const root = "../.."

// A module is a module that users import, with the packages that they import.
type module struct {
	listing  string // file in api/ that lists its exported names
	folder   string // relative to root
	packages []string
}

var modules = []module{
	{"v1.txt", ".", []string{".", "./dashboard"}},
	{"metrics-v1.txt", "metrics", []string{"."}},
	{"cluster-v1.txt", "cluster", []string{"."}},
}

// A loaded is a package with its types and its syntax, tests excluded.
type loaded struct {
	path  string // its import path
	dir   string
	name  string
	fset  *token.FileSet
	files []*ast.File
	types *types.Package
}

// listed is part of the output of `go list -json`.
type listed struct {
	ImportPath, Dir, Name, Export string
	GoFiles                       []string
	DepOnly                       bool
	Error                         *struct{ Err string }
}

// goList runs go list in a folder below root, once per module.
func goList(folder string, args ...string) ([]listed, error) {
	cmd := exec.Command("go", append([]string{"list", "-e", "-export", "-json"}, args...)...)
	cmd.Dir = filepath.Join(root, folder)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New("go list in " + folder + ": " + err.Error() + "\n" + stderr.String())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if l.Error != nil && !l.DepOnly {
			return nil, errors.New(l.ImportPath + ": " + l.Error.Err)
		}
		all = append(all, l)
	}
}

// exports has the compiled packages by import path, as the go command left them in its cache.
// With them, only our own code needs parsing.
var exports = struct {
	mu    sync.Mutex
	files map[string]string
}{files: make(map[string]string)}

// remember records where the compiled packages are.
func remember(list []listed) {
	exports.mu.Lock()
	defer exports.mu.Unlock()
	for _, l := range list {
		exports.files[l.ImportPath] = l.Export
	}
}

// open opens the compiled form of a package, for the importer.
func open(path string) (io.ReadCloser, error) {
	exports.mu.Lock()
	file := exports.files[path]
	exports.mu.Unlock()
	if file == "" {
		return nil, fs.ErrNotExist
	}
	return os.Open(file)
}

// load returns the packages of a module. It skips the test if the module is missing, as in a
// download of the root module alone.
func load(t *testing.T, m module) []loaded {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, m.folder, "go.mod")); err != nil {
		t.Skipf("%s is not here", m.folder)
	}
	memo.Lock()
	defer memo.Unlock()
	if memo.packages[m.folder] == nil {
		all, err := loadModule(m)
		if err != nil {
			t.Fatal(err)
		}
		memo.packages[m.folder] = all
	}
	return memo.packages[m.folder]
}

var memo = struct {
	sync.Mutex
	packages map[string][]loaded // by the folder of their module
}{packages: make(map[string][]loaded)}

func loadModule(m module) ([]loaded, error) {
	list, err := goList(m.folder, append([]string{"-deps"}, m.packages...)...)
	if err != nil {
		return nil, err
	}
	remember(list)
	var all []loaded
	for _, l := range list {
		if l.DepOnly {
			continue
		}
		// To cache test results, the go command tracks the files that a test opens, but not
		// those that go list reads. Reading the folder lets it notice a new file.
		if _, err := os.ReadDir(l.Dir); err != nil {
			return nil, err
		}
		p := loaded{path: l.ImportPath, dir: l.Dir, name: l.Name, fset: token.NewFileSet()}
		for _, file := range l.GoFiles {
			f, err := parser.ParseFile(p.fset, filepath.Join(l.Dir, file), nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			p.files = append(p.files, f)
		}
		p.types, err = typeCheck(p.path, p.fset, p.files)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func typeCheck(path string, fset *token.FileSet, files []*ast.File) (*types.Package, error) {
	config := types.Config{Importer: newImporter(fset)}
	return config.Check(path, fset, files, nil)
}

func newImporter(fset *token.FileSet) types.Importer {
	return importer.ForCompiler(fset, "gc", open)
}

// place returns a position for a message, with a path relative to the repository's root.
func (l *loaded) place(pos token.Pos) string {
	p := l.fset.Position(pos)
	abs, _ := filepath.Abs(root)
	return strings.TrimPrefix(p.String(), abs+string(filepath.Separator))
}
