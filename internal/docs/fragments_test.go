package docs

import (
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

// A fragment is code that a page shows without the rest of its file.
type fragment struct {
	folder string   // the module whose packages it uses
	deps   []string // those packages
	head   string   // the file's text up to the fragment
}

// fragments by page. Other tests cover the programs of the READMEs
// and the code of docs/migrating.md.
var fragments = map[string]fragment{
	"metrics/README.md": {"metrics", []string{".", "github.com/prometheus/client_golang/prometheus/promhttp"}, `package p
import (
	"net/http"
	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)
var (
	registry *prometheus.Registry
	node     interface{ Stats() struct{ Nodes int } } // as *cluster.Node, of another module
	_        = []any{http.Handle, metrics.NewCollector, promhttp.HandlerFor}
)
func _(pool *gcpool.Pool) {
`},
	"cluster/README.md": {"cluster", []string{".", "net/http"}, `package p
import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/cluster"
)
var (
	nc     *nats.Conn
	node   *cluster.Node
	ready  atomic.Bool
	drain  time.Duration
	server http.Server
	within func(time.Duration, func(context.Context) error) error
)
func _(ctx context.Context, pool *gcpool.Pool, url string, data []byte) {
`},
}

var tested = append([]string{"docs/migrating.md"}, readmes...)

func TestFragmentsInMarkdownCompile(t *testing.T) {
	for _, file := range markdown(t) {
		if slices.Contains(tested, filepath.ToSlash(file)) {
			continue
		}
		for _, m := range block.FindAllStringSubmatch(page(t, file), -1) {
			f, ok := fragments[filepath.ToSlash(file)]
			if !ok {
				t.Errorf("%s: no test compiles\n%s", file, m[1])
				continue
			}
			if _, err := os.Stat(filepath.Join(root, f.folder, "go.mod")); err != nil {
				continue // as in a download of the root module alone
			}
			list, err := goList(f.folder, append([]string{"-deps"}, f.deps...)...)
			if err != nil {
				t.Fatal(err)
			}
			remember(list)
			if err := compileFragment(f.head, m[1]); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if compileFragment(f.head, m[1]+"\npool.Undefined()\n") == nil {
				t.Errorf("%s: a call that does not exist passes", file)
			}
		}
	}
}

// compileFragment type-checks source after head. It ignores soft errors, such as an unused import.
func compileFragment(head, source string) (err error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "fragment.go", head+strings.ReplaceAll(source, "…", "")+"}\n", 0)
	if err != nil {
		return err
	}
	config := types.Config{Importer: newImporter(fset), Error: func(e error) {
		if e := e.(types.Error); !e.Soft && err == nil {
			err = e
		}
	}}
	config.Check("p", fset, []*ast.File{file}, nil)
	return err
}
