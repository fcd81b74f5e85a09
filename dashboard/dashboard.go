// Package dashboard serves a page for operators: the pools of a [gcpool.Pool],
// their connections, rates, queues, slow peers and what was not delivered, as
// charts of the last five minutes, and the same figures as JSON.
//
// [Handler] is mounted as net/http/pprof is, under any prefix:
//
//	mux.Handle("/debug/gcpool/", adminsOnly(dashboard.Handler(pool)))
//
// # Security
//
// The page can change nothing, and shows neither ids nor payloads. But it shows
// what pools there are and how busy they are, to whoever can reach it: put it
// behind the authentication of your operators, or on a port that only they
// reach. Its policy lets no script run but its own, and no other site frame it
// or read it.
//
// # History
//
// Nothing is recorded while nobody looks: there is no goroutine and no timer, and
// a request leaves nothing behind. The browser asks once a second and keeps what
// it got, so the charts begin when the page was opened, and say so.
package dashboard

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool"
)

//go:embed page.html dashboard.css dashboard.js charts.js icon.svg
var files embed.FS

// policy is that of each answer. The icon is the one image.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Handler returns the page of pool and what belongs to it. The pools are those
// that are registered when a request comes; a nil pool has none. It may be made
// before Start and used after Shutdown.
//
// It answers where it is mounted, with or without [http.StripPrefix] and a slash
// at the end. There, ?format=json gives the figures, as data.json beside it does:
// an object with started and now, in RFC 3339, uptime in seconds, and pools, by
// name, with the fields of [gcpool.Stats]. Durations are in seconds; started is
// when Handler was called. Other paths are 404, and methods but GET and HEAD 405.
//
// The page needs no authentication of its own: see the package's security notes.
// The handler may serve any number of requests at once, and does not block.
func Handler(pool *gcpool.Pool) http.Handler {
	return &handler{
		pool:    pool,
		page:    template.Must(template.New("page.html").Funcs(template.FuncMap{"bytes": size}).ParseFS(files, "page.html")),
		started: time.Now(),
	}
}

type handler struct {
	pool    *gcpool.Pool
	page    *template.Template
	started time.Time
}

// types are those of the files. Not from package mime, which asks the system.
var types = map[string]string{
	"css": "text/css; charset=utf-8",
	"js":  "text/javascript; charset=utf-8",
	"svg": "image/svg+xml",
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	file, format := query.Get("file"), query.Get("format")
	switch place := below(r); {
	case place == "data.json", place == "" && format == "json":
		h.figures(w, r)
	case place != "" || format != "":
		http.NotFound(w, r)
	case file == "":
		h.index(w, r)
	default:
		_, extension, _ := strings.Cut(file, ".")
		content, err := files.ReadFile(file)
		if kind := types[extension]; err == nil && kind != "" {
			answer(w, r, kind, content)
		} else {
			http.NotFound(w, r)
		}
	}
}

// secure sets the headers that hold for every answer. They replace those of a
// middleware, which knows the rest of the site but not this page.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// below returns the part of the path below where the handler is mounted. A
// ServeMux tells where that is, unless something has been stripped since; else
// it is whatever follows the last slash. The page names its files by query
// alone, so that they are found with a slash at the end of its path and without.
func below(r *http.Request) string {
	path, pattern := r.URL.Path, r.Pattern
	if i := strings.IndexByte(pattern, '/'); i >= 0 { // after a method and a host
		mount := strings.TrimRight(strings.TrimRight(pattern[i:], "*"), "/")
		if i := strings.IndexByte(mount, '{'); i >= 0 {
			mount = strings.TrimRight(mount[:i], "/")
		}
		if rest, ok := strings.CutPrefix(path, mount); ok && mount != "" && (rest == "" || rest[0] == '/') {
			return strings.TrimPrefix(rest, "/")
		}
	}
	return path[strings.LastIndexByte(path, '/')+1:]
}

// answer is http.ServeContent without ranges and dates.
func answer(w http.ResponseWriter, r *http.Request, kind string, content []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method != http.MethodHead {
		w.Write(content)
	}
}

// index is the page with the figures of this moment, so that it tells something
// before its script runs, and where none may.
func (h *handler) index(w http.ResponseWriter, r *http.Request) {
	var page bytes.Buffer
	if err := h.page.Execute(&page, h.snapshot()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, r, "text/html; charset=utf-8", page.Bytes())
}

func (h *handler) figures(w http.ResponseWriter, r *http.Request) {
	content, err := json.Marshal(h.snapshot())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, r, "application/json", append(content, '\n'))
}
