// Package demo holds what all recipes share: a command line, a server with a graceful
// shutdown, and the checks of who may do what. Copy the server, and replace the sessions with
// your own.
package demo

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// sessions has two users, to try a recipe on your own machine. Real sessions have random
// names and come from a sign-in, as in examples/push.
var sessions = map[string]string{"demo-alice": "alice", "demo-bob": "bob"}

// Main is a recipe's main: it listens on -addr, and runs serve until a signal ends its context. If
// anything goes wrong, it prints one line and exits with code 1.
func Main(name string, serve func(ctx context.Context, listener net.Listener) error) {
	addr := flag.String("addr", "localhost:8080", "the `host:port` to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	listener, err := net.Listen("tcp", *addr)
	if err == nil {
		fmt.Printf("%s: listening on http://%s\n", name, listener.Addr())
		err = serve(ctx, listener)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Serve serves until ctx ends. Then it stops accepting connections, and closes all connections
// with code 1001.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, pool *gcpool.Pool) error {
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err := errors.Join(within(2*time.Second, web.Shutdown), within(5*time.Second, pool.Shutdown))
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // a browser that is asleep does not answer the close frame; that is not an error
	}
	return err
}

func within(d time.Duration, shutdown func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return shutdown(ctx)
}

// UserOf returns the user whose session a request has, or "" for a stranger. The id of a connection
// comes from here, never from the query, which anybody can write.
func UserOf(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return sessions[cookie.Value]
}

// Exists reports whether there is such a user.
func Exists(user string) bool {
	return slices.Contains(slices.Collect(maps.Values(sessions)), user)
}

// Handshake lets in signed-in users from pages of this server only: a browser sends its
// cookies with the handshakes of any page.
func Handshake(config *websocket.Config, r *http.Request) error {
	if UserOf(r) == "" {
		return errors.New("not signed in") // x/net answers a bare 403, and drops this text
	}
	return gcpool.SameOrigin(config, r)
}

// Services lets in services that send the key in the environment variable SERVICE_KEY. If the
// variable is not set, it lets in none.
func Services(next http.HandlerFunc) http.HandlerFunc {
	key := os.Getenv("SERVICE_KEY")
	return func(w http.ResponseWriter, r *http.Request) {
		given, want := []byte(r.Header.Get("Authorization")), []byte("Bearer "+key)
		if key == "" || subtle.ConstantTimeCompare(given, want) == 0 {
			http.Error(w, "send the key in SERVICE_KEY as a bearer token", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}
