package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/dashboard"
)

//go:embed page.html
var page []byte

// peoplePause is the least time between two lists of who is connected.
const peoplePause = 100 * time.Millisecond

// A server is the application: one pool, named people, in which the id of a
// connection is the name of the person.
type server struct {
	sessions *sessions
	pool     *gcpool.Pool
	conns    *gcpool.ConnPool
	stream   *gcpool.StreamPool

	changed chan struct{} // who is connected has changed since the last list
	stop    context.CancelFunc
	wg      sync.WaitGroup // of announce
}

func newServer() (*server, error) {
	s := &server{
		sessions: newSessions(),
		pool:     gcpool.NewPool(),
		changed:  make(chan struct{}, 1),
	}
	err := s.pool.Register("people",
		gcpool.WithPresence(func(string, string, bool) { s.mark() }),
		gcpool.WithUndelivered(s.undelivered))
	if err != nil {
		return nil, err
	}
	s.conns, s.stream = s.pool.GetConn("people"), s.pool.GetStream("people")
	s.pool.Start()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.announce(ctx) })
	return s, nil
}

// shutdown tells the people who are connected that the server goes away, and
// waits up to five seconds for their goodbyes.
func (s *server) shutdown() error {
	s.stop()
	s.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.pool.Shutdown(ctx)
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /me", s.me)
	mux.HandleFunc("POST /signin", s.signIn)
	mux.HandleFunc("POST /signout", s.signOut)
	mux.Handle("GET /ws", gcpool.Upgrade(s.socket()))
	mux.Handle("/debug/gcpool/", local(dashboard.Handler(s.pool)))
	return secured(http.NewCrossOriginProtection().Handler(mux))
}

func (s *server) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(page)
}

// me tells a page who it is, or that it is nobody, before it connects: a script
// does not learn why a WebSocket handshake was refused.
func (s *server) me(w http.ResponseWriter, r *http.Request) {
	who, _ := s.sessions.read(r)
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(hello{Kind: "hello", Name: who.name}))
}

func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
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

func (s *server) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1})
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}

// mark has everybody told who is connected, soon.
func (s *server) mark() {
	select {
	case s.changed <- struct{}{}:
	default: // one list will do for this change as well
	}
}

// announce pushes the list of who is connected to everybody after each change,
// but not more often than the pause allows: many who come at once are one list.
func (s *server) announce(ctx context.Context) {
	for {
		select {
		case <-s.changed:
			s.announceNow(ctx)
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(peoplePause):
		case <-ctx.Done():
			return
		}
	}
}

// announceNow pushes one list. It is not Broadcast because that waits for those
// who are slow; here they get the next list.
func (s *server) announceNow(ctx context.Context) {
	names := []string{}
	for name := range s.conns.All() {
		names = append(names, name)
	}
	slices.Sort(names)
	list := encode(people{Kind: "people", Names: names})
	for _, name := range names {
		soon, cancel := context.WithTimeout(ctx, peoplePause)
		if s.stream.AddContext(soon, name, list) != nil {
			s.mark()
		}
		cancel()
	}
}

// secured sets the headers that hold for every answer. The page's one script
// and one style are allowed by their hashes; nothing else runs or loads.
func secured(next http.Handler) http.Handler {
	policy := fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; connect-src 'self'; img-src data:; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
		hash("<script>", "</script>"), hash("<style>", "</style>"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// hash returns the policy's name for what stands between two tags of the page.
func hash(from, to string) string {
	_, rest, _ := bytes.Cut(page, []byte(from))
	text, _, _ := bytes.Cut(rest, []byte(to))
	sum := sha256.Sum256(text)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
