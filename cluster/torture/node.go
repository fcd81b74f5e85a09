//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/cluster"
	"github.com/nulijiabei/gcpool/cluster/internal/skew"
	"golang.org/x/net/websocket"
)

// nodeEnv is set in the process of a node. It has five words: the node's name, the addresses of
// NATS, whether the node has a mailbox, how many pushes there are for each large one, and how far
// its clock is ahead.
const nodeEnv = "GCPOOL_TORTURE_NODE"

// perPush is how long a node waits between two pushes.
const perPush = 5 * time.Millisecond

// runNode is the process of a node. It obeys the commands on its input, one on each line, and
// writes a line for each thing that the judge should know:
//
//	ready ADDRESS          users may connect
//	undelivered CLASS DATA "certain" or "uncertain"
//	reached FAILURES       how many users were not reached, in answer to "reach"
//	stats CONNS WAITING    in answer to "stats"
func runNode() {
	args := strings.Fields(os.Getenv(nodeEnv))
	out := make(chan string, 1<<16)
	go func() {
		for line := range out {
			fmt.Println(line)
		}
	}()
	skew.Ahead, _ = time.ParseDuration(args[4])
	pool, node := join(args, out)
	conns := pool.GetConn("users")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		leave(pool, node, l)
	}()
	go http.Serve(l, gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		conns.Add(id, ws)
		defer conns.Del(id)
		io.Copy(io.Discard, bufio.NewReader(ws))
	})))
	out <- "ready " + l.Addr().String()
	large, err := strconv.Atoi(args[3])
	must(err)
	p := &pusher{name: args[0], stream: pool.GetStream("users"), large: large}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch command, arg, _ := strings.Cut(in.Text(), " "); command {
		case "users":
			users, _ := strconv.Atoi(arg)
			p.users.Store(int64(users))
		case "load":
			if !p.loading.Swap(true) {
				go p.load()
			}
		case "quiet":
			p.loading.Store(false)
		case "reach":
			go func() { out <- fmt.Sprint("reached ", p.reach()) }()
		case "stats":
			out <- fmt.Sprint("stats ", conns.Len(), " ", pool.Stats()[0].Waiting)
		}
	}
}

// join returns a pool that has joined the cluster, as the README shows.
func join(args []string, out chan<- string) (*gcpool.Pool, *cluster.Node) {
	opts := []gcpool.Option{gcpool.WithUndelivered(func(u gcpool.Undelivered) {
		class := "uncertain"
		for _, certain := range []error{gcpool.ErrNotConnected, gcpool.ErrExpired, gcpool.ErrTooLarge} {
			if errors.Is(u.Err, certain) {
				class = "certain"
			}
		}
		out <- fmt.Sprintf("undelivered %s %s", class, bytes.TrimRight(u.Data, "x"))
	})}
	if args[2] == "true" {
		opts = append(opts, gcpool.WithMailbox(time.Minute, 64<<20))
	}
	pool := gcpool.NewPool(opts...)
	must(pool.Register("users"))
	nc, err := nats.Connect(args[1], nats.DontRandomize(),
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond), nats.Timeout(time.Second),
		nats.PingInterval(2*time.Second), nats.FlusherTimeout(2*time.Second), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	must(err)
	node, err := cluster.Join(pool, nc, cluster.WithName(args[0]), cluster.WithLogger(slog.New(slog.DiscardHandler)))
	must(err)
	pool.Start()
	return pool, node
}

// leave ends the process as the README shows.
func leave(pool *gcpool.Pool, node *cluster.Node, l net.Listener) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l.Close()
	must(errors.Join(pool.Shutdown(ctx), node.Leave(ctx)))
	time.Sleep(100 * time.Millisecond) // until the judge has all reports
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A pusher pushes to all users in turn.
type pusher struct {
	name    string
	stream  *gcpool.StreamPool
	large   int
	users   atomic.Int64
	loading atomic.Bool
}

// load pushes until it is told to be quiet. Each message has the node's name, the user, a rising
// number and the time.
func (p *pusher) load() {
	for n := 1; p.loading.Load(); n++ {
		id := userID(n * 7 % int(p.users.Load()))
		data := fmt.Appendf(nil, "%s %s %d %d ", p.name, id, n, time.Now().UnixNano())
		if p.large > 0 && n%p.large == 0 {
			data = append(data, bytes.Repeat([]byte("x"), 10<<10)...)
		}
		_ = p.stream.Add(id, data)
		time.Sleep(perPush)
	}
}

// reach returns how many users a push does not reach within a second.
func (p *pusher) reach() int {
	var failures atomic.Int64
	var wg sync.WaitGroup
	for i := range int(p.users.Load()) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if p.stream.Deliver(ctx, userID(i), []byte("reach")) != nil {
				failures.Add(1)
			}
		})
	}
	wg.Wait()
	return int(failures.Load())
}

func userID(i int) string { return fmt.Sprint("user", i) }
