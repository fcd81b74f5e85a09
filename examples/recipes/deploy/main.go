// Deploy makes room for a newer version without losing a message silently. On SIGTERM it
// first tells the load balancer to send no new users, and continues to serve until the load
// balancer has noticed. Then it closes all connections with 1001, so that the clients come
// back, to another instance.
//
//	go run ./examples/recipes/deploy -drain 5s
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws
//	curl -i http://localhost:8080/ready     # 200; after Ctrl-C, which acts like SIGTERM, 503
//
// -drain is the time that the load balancer needs: the interval of its checks times the
// failures that it waits for. -grace is the time to deliver the messages that still wait. Together
// they must be shorter than the time after which the process is killed, in Kubernetes
// terminationGracePeriodSeconds. Meanwhile, pushes on the new instance find few users there:
// keep these messages with WithMailbox, or join the instances in a cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

var (
	drain = flag.Duration("drain", 5*time.Second, "how long to serve on after SIGTERM")
	grace = flag.Duration("grace", 20*time.Second, "how long delivery and goodbyes may take after that")
)

func main() { demo.Main("deploy", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool(gcpool.WithUndelivered(func(u gcpool.Undelivered) {
		log.Printf("not delivered to %q: %v", u.ID, u.Err) // store it here
	}))
	if err := pool.Register("users"); err != nil {
		return err
	}
	pool.Start()
	i := instance{conns: pool.GetConn("users"), ready: new(atomic.Bool)}
	i.ready.Store(true)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", i.isReady)
	mux.Handle("GET /ws", gcpool.Upgrade(websocket.Server{Handshake: demo.Handshake, Handler: i.connected}))
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	go work(pool.GetStream("users"))
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}

	i.ready.Store(false)
	fmt.Println("deploy: no longer ready")
	time.Sleep(*drain)

	// Two steps, because http.Server.Shutdown knows nothing of WebSockets. Each gets half of
	// the time, so that a request that hangs leaves time for the close frames.
	err := errors.Join(within(*grace/2, web.Shutdown), within(*grace/2, pool.Shutdown))
	s := pool.Stats()[0]
	fmt.Printf("deploy: %d accepted, %d written, %d reported\n", s.Accepted, s.Written, s.Undelivered)
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Println("deploy: some clients have not closed in time")
		return nil // a browser that is asleep does not, and that is not our failure
	}
	return err
}

func within(d time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return do(ctx)
}

// work stands in for your application. It pushes the time to all users. Slow readers miss some.
func work(stream *gcpool.StreamPool) {
	for now := range time.Tick(100 * time.Millisecond) {
		err := within(50*time.Millisecond, func(ctx context.Context) error {
			return stream.BroadcastContext(ctx, now.AppendFormat(nil, time.RFC3339Nano))
		})
		if errors.Is(err, gcpool.ErrClosed) {
			return // the pool is shutting down
		}
	}
}

type instance struct {
	conns *gcpool.ConnPool
	ready *atomic.Bool
}

// isReady is for the load balancer. Do not use it to check whether the process is alive:
// that check must still succeed while this one fails.
func (i instance) isReady(w http.ResponseWriter, r *http.Request) {
	if !i.ready.Load() {
		http.Error(w, "going away", http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

func (i instance) connected(ws *websocket.Conn) {
	id := demo.UserOf(ws.Request())
	if i.conns.Add(id, ws) != nil {
		return
	}
	defer i.conns.Del(id)
	io.Copy(io.Discard, ws) // until the user leaves; reading answers pings
}
