// Package docs checks what the repository says about itself. api/ lists the exported names;
// each has a doc comment whose links resolve, and an Example. Every link in a Markdown file
// leads somewhere. The server that the READMEs print serves its users and nobody else, and
// their client obeys the close codes. Examples are short, and those that connect to NATS set
// PingInterval. The documents avoid some phrases.
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

// root is the folder of the repository, seen from here.
const root = "../.."

// A module is one that users import, with those of its packages.
type module struct {
	listing  string // of its exported names, in api/
	folder   string // below root
	packages []string
}

var modules = []module{
	{"v1.txt", ".", []string{".", "./dashboard"}},
	{"metrics-v1.txt", "metrics", []string{"."}},
	{"cluster-v1.txt", "cluster", []string{"."}},
}

// A loaded package has its syntax, without tests, and its types.
type loaded struct {
	path  string // to import it
	dir   string
	name  string
	fset  *token.FileSet
	files []*ast.File
	types *types.Package
}

// listed is what `go list -json` tells of a package.
type listed struct {
	ImportPath, Dir, Name, Export string
	GoFiles                       []string
	DepOnly                       bool
	Error                         *struct{ Err string }
}

// goList runs go list in a folder below root, for one module at a time.
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

// exports are the compiled packages by import path, as the go command left them
// in its cache: with them nothing but our own code is parsed.
var exports = struct {
	mu    sync.Mutex
	files map[string]string
}{files: make(map[string]string)}

// remember notes where the compiled packages are.
func remember(list []listed) {
	exports.mu.Lock()
	defer exports.mu.Unlock()
	for _, l := range list {
		exports.files[l.ImportPath] = l.Export
	}
}

// open finds the compiled form of a package for the importer.
func open(path string) (io.ReadCloser, error) {
	exports.mu.Lock()
	file := exports.files[path]
	exports.mu.Unlock()
	if file == "" {
		return nil, fs.ErrNotExist
	}
	return os.Open(file)
}

// load returns the packages of a module. It skips a test where that module is
// not, as in a download of the root module alone.
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
		// The go command, which keeps the results of tests, sees what a test opens,
		// not what go list does: let it see a new file.
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

// place is where something stands, for a message: below the repository's root.
func (l *loaded) place(pos token.Pos) string {
	p := l.fset.Position(pos)
	abs, _ := filepath.Abs(root)
	return strings.TrimPrefix(p.String(), abs+string(filepath.Separator))
}
