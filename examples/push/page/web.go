package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
)

// The page is one file, so that its parts always have the same version.
var (
	//go:embed page.html
	frame []byte
	//go:embed page.css
	style []byte
	//go:embed page.js
	script []byte
)

// Handler serves everything that a browser gets: the page, the sessions, ws at /ws, and, for this
// machine only, dashboard at /debug/gcpool/.
func (p *Page) Handler(ws, dashboard http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", page())
	mux.HandleFunc("GET /me", p.me)
	mux.HandleFunc("POST /signin", p.signIn)
	mux.HandleFunc("POST /signout", p.signOut)
	mux.Handle("GET /ws", ws)
	mux.Handle("/debug/gcpool/", local(dashboard))
	return secured(http.NewCrossOriginProtection().Handler(mux))
}

// page serves the page with its style and script inside.
func page() http.HandlerFunc {
	page := bytes.Replace(frame, []byte("</style>"), append(bytes.Clone(style), "</style>"...), 1)
	page = bytes.Replace(page, []byte("</script>"), append(bytes.Clone(script), "</script>"...), 1)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	}
}

// me tells a page who its user is, if it has one. The page asks before it connects, because a
// script does not learn why a WebSocket handshake was refused.
func (p *Page) me(w http.ResponseWriter, r *http.Request) {
	who, _ := p.sessions.read(r)
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(hello{Kind: "hello", Name: who.Name, Node: p.config.Node, Nodes: p.config.Nodes}))
}

func (p *Page) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	name, problem := checkName(r.PostFormValue("name"))
	if problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	cookie := p.Cookie(name)
	cookie.Secure = r.TLS != nil
	http.SetCookie(w, cookie)
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}

func (p *Page) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}

// secured sets the headers of every answer. It allows the page's script and style by their
// hashes; nothing else runs or loads.
func secured(next http.Handler) http.Handler {
	policy := fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; connect-src 'self'; img-src data:; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
		hash(script), hash(style))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// hash returns the hash by which the policy allows a script or style.
func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
