package dashboard_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/dashboard"
)

// TestWhereverItIsMounted mounts the dashboard as users of pprof do, and in other ways.
func TestWhereverItIsMounted(t *testing.T) {
	t.Parallel()
	board := dashboard.Handler(started(t, "users"))
	routed := func(pattern string, h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(pattern, h)
		return mux
	}
	stripped := func(prefix string) http.Handler { return http.StripPrefix(prefix, board) }
	for _, c := range []struct {
		h     http.Handler
		pages []string
	}{
		{board, []string{"/", "/debug/gcpool/"}}, // behind a router that it does not know
		{routed("/", board), []string{"/"}},
		{routed("/debug/gcpool/", board), []string{"/debug/gcpool/"}},
		{routed("GET /debug/gcpool/{rest...}", board), []string{"/debug/gcpool/"}},
		{routed("example.com/debug/gcpool/", board), []string{"http://example.com/debug/gcpool/"}},
		{routed("/{tenant}/gcpool/", board), []string{"/a/gcpool/"}},
		{routed("/debug/gcpool", board), []string{"/debug/gcpool"}}, // alone, no path below it
		{routed("/debug/gcpool/", stripped("/debug/gcpool")), []string{"/debug/gcpool/"}},
		{routed("/debug/gcpool/", stripped("/debug/gcpool/")), []string{"/debug/gcpool/"}},
		{routed("/debug/gcpool", stripped("/debug/gcpool")), []string{"/debug/gcpool"}},
		{routed("/debug/gcpool/", stripped("/debug")), []string{"/debug/gcpool/"}},
		{routed("/debug/", http.StripPrefix("/debug", routed("/gcpool/", board))), []string{"/debug/gcpool/"}},
		{routed("/data.json/", board), []string{"/data.json/"}},
	} {
		for _, page := range c.pages {
			checkMount(t, c.h, page)
		}
	}
}

func checkMount(t *testing.T, h http.Handler, page string) {
	t.Helper()
	if w := ask(h, http.MethodGet, page); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "<bdi>users</bdi>") {
		t.Errorf("%s: %d", page, w.Code)
	}
	if w := ask(h, http.MethodGet, page+"?file=dashboard.js"); w.Code != http.StatusOK {
		t.Errorf("%s: its script is %d", page, w.Code)
	}
	data := []string{page + "?format=json"}
	if strings.HasSuffix(page, "/") {
		data = append(data, page+"data.json")
		for _, path := range []string{"nope", "data.jsonx", "dashboard.js", "page.html", "nope?format=json", "nope?file=dashboard.js"} {
			if w := ask(h, http.MethodGet, page+path); w.Code != http.StatusNotFound {
				t.Errorf("%s%s: %d", page, path, w.Code)
			}
		}
	}
	for _, target := range data {
		w := ask(h, http.MethodGet, target)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d, %s", target, w.Code, w.Header().Get("Content-Type"))
		} else if _, pools := figures(t, w); len(pools) != 1 {
			t.Errorf("%s: %v", target, pools)
		}
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	board := dashboard.Handler(started(t, "users"))
	mux := http.NewServeMux()
	mux.Handle("/debug/gcpool/", board)
	for _, target := range []string{
		"/debug/gcpool/nope/", "/debug/gcpool/a/data.json", "/debug/gcpool/data.json/", "/debug/gcpool/?format=xml",
		"/debug/gcpool/?file=nope.js", "/debug/gcpool/?file=page.html", "/debug/gcpool/?file=dashboard.go",
		"/debug/gcpool/?file=../go.mod", "/debug/gcpool/?file=.", "/debug/gcpool/?file=%2e%2e/conn.go",
	} {
		if w := ask(mux, http.MethodGet, target); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
}
