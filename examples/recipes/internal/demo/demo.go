// Package demo is what the recipes have in common and is none of their points: a
// command line, a server that ends well, and who may do what. The server may be
// copied; sessions stands for yours.
package demo

import (
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// sessions has two users for trying a recipe on one's own machine. Real sessions
// have random names, and come from a sign-in, as in examples/push.
var sessions = map[string]string{"demo-alice": "alice", "demo-bob": "bob"}

// Main is a recipe's main: it listens where -addr says, and runs serve until a
// signal ends its context. Whatever goes wrong is one line and exit code 1.
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

// Serve serves until ctx ends. Then it first lets nobody new in, and then tells
// those who are connected that the server goes away.
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
		return nil // a browser that sleeps does not say goodbye, which is no failure of ours
	}
	return err
}

func within(d time.Duration, shutdown func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return shutdown(ctx)
}

// UserOf returns whose session a request has, "" for a stranger. The id of a
// connection comes from here, never from the query, which anybody can write.
func UserOf(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	return sessions[cookie.Value]
}

// Handshake lets in who is signed in, from a page of this server: a browser sends
// its cookies with the handshakes of any page.
func Handshake(config *websocket.Config, r *http.Request) error {
	if UserOf(r) == "" {
		return errors.New("not signed in")
	}
	return gcpool.SameOrigin(config, r)
}

// Services lets other services in, which have the key in the environment variable
// SERVICE_KEY; nobody, if that is not set.
func Services(next http.HandlerFunc) http.HandlerFunc {
	key := os.Getenv("SERVICE_KEY")
	return func(w http.ResponseWriter, r *http.Request) {
		given, want := []byte(r.Header.Get("Authorization")), []byte("Bearer "+key)
		if key == "" || subtle.ConstantTimeCompare(given, want) == 0 {
			http.Error(w, "this needs the key that is in SERVICE_KEY", http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}
