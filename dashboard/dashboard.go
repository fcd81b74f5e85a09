// Package dashboard serves a page for operators. It shows the pools of a [gcpool.Pool]:
// connections, rates, waiting messages, the fullest outbox, slow peers and undelivered
// messages. It draws them as charts of up to five minutes, and serves the same figures as JSON.
//
// Mount [Handler] under any prefix, as you mount net/http/pprof:
//
//	mux.Handle("/debug/gcpool/", adminsOnly(dashboard.Handler(pool)))
//
// # Security
//
// The page can change nothing, and shows no ids and no payloads. But everyone who can reach
// it can see which pools exist and how busy they are. Put it behind your operators'
// authentication, or on a port that only they can reach. Its headers let only its own scripts
// run. No other site can show it in a frame, or read it.
//
// # One process
//
// The page shows only the process that serves it. Behind a load balancer, open each process by its
// own address.
//
// # History
//
// The server records nothing. It has no goroutine and no timer for the page, and keeps
// nothing after a request. The browser asks for the figures once a second and keeps them. So
// the charts begin when you open the page, and the page says so.
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

// policy is the Content-Security-Policy of each answer. The icon is the only image.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// Handler returns the page of pool and its files. Each request shows the pools that are
// registered at that moment; a nil pool has none. You may call Handler before Start, and
// use it after Shutdown.
//
// It answers at the path where you mount it, with or without [http.StripPrefix], and with or
// without a slash at the end. ?format=json at that path, or data.json below it, returns the
// figures: an object with started and now (RFC 3339), uptime (seconds), and pools, sorted by
// name, with the fields of [gcpool.Stats]. Durations are in seconds; started is when Handler
// was called. Other paths get 404, and methods other than GET and HEAD get 405.
//
// Handler does not authenticate anyone: see the security notes of the package. It may
// serve any number of requests at once, and does not block.
func Handler(pool *gcpool.Pool) http.Handler {
	return &handler{
		pool:    pool,
		page:    template.Must(template.New("page.html").Funcs(template.FuncMap{"bytes": size, "whole": whole}).ParseFS(files, "page.html")),
		started: time.Now(),
	}
}

type handler struct {
	pool    *gcpool.Pool
	page    *template.Template
	started time.Time
}

// types are the content types of the files. The answer of package mime would depend on the system.
var types = map[string]string{
	"css": "text/css; charset=utf-8",
	"js":  "text/javascript; charset=utf-8",
	"svg": "image/svg+xml",
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page is read-only", http.StatusMethodNotAllowed)
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

// secure sets the headers of every answer. They replace headers set by middleware, which knows the
// rest of the site but not this page.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// below returns the part of the path below the handler's mount point. The pattern of a ServeMux
// names the mount point, unless something has stripped the path since. Otherwise below returns the
// part after the last slash. The page names its files only in the query, so that the browser finds
// them with and without a slash at the end of the path.
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

// index serves the page with the figures of this moment, so that it shows something before its
// script runs, and in browsers that run no scripts.
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
