package people

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/dashboard"
)

// The page is served as one file, so that no request of it can be for another
// version than the page.
var (
	//go:embed page.html
	frame []byte
	//go:embed page.css
	style []byte
	//go:embed page.js
	script []byte
)

// Handler returns what a browser gets.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", page())
	mux.HandleFunc("GET /me", s.me)
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /signout", s.signOut)
	mux.Handle("GET /ws", gcpool.Upgrade(s.socket()))
	mux.Handle("/debug/gcpool/", local(dashboard.Handler(s.pool)))
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

// me tells a page who it is, or that it is nobody, and where, before it connects:
// a script does not learn why a WebSocket handshake was refused.
func (s *Server) me(w http.ResponseWriter, r *http.Request) {
	who, _ := s.sessions.read(r)
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(hello{Kind: "hello", Name: who.name, Node: s.config.Node, Nodes: s.config.Nodes}))
}

func (s *Server) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	name, problem := checkName(r.PostFormValue("name"))
	if problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	cookie := s.sessions.cookie(name)
	cookie.Secure = r.TLS != nil
	http.SetCookie(w, cookie)
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}

// secured sets the headers that hold for every answer. The page's one script
// and one style are allowed by their hashes; nothing else runs or loads.
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

// hash returns the policy's name for a script or style.
func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
