package cluster_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/cluster"
)

// startNATS starts a server in this process, and returns its URL and a function that ends it.
func startNATS() (url string, end func()) {
	daemon, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, PingInterval: 2 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	daemon.Start()
	daemon.ReadyForConnections(10 * time.Second)
	return daemon.ClientURL(), daemon.Shutdown
}

// startNode does what each process of a server does. end ends it.
func startNode(url, name string) (pool *gcpool.Pool, node *cluster.Node, end func(context.Context)) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.PingInterval(2*time.Second),
		nats.FlusherTimeout(2*time.Second), nats.IgnoreAuthErrorAbort())
	if err != nil {
		log.Fatal(err)
	}
	pool = gcpool.NewPool()
	if err := pool.Register("users"); err != nil {
		log.Fatal(err)
	}
	if node, err = cluster.Join(pool, nc, cluster.WithName(name)); err != nil {
		log.Fatal(err)
	}
	pool.Start()
	return pool, node, func(ctx context.Context) {
		pool.Shutdown(ctx)
		node.Leave(ctx)
		nc.Close()
	}
}

func ExampleJoin() {
	url, end := startNATS()
	defer end()
	nc, err := nats.Connect(url,
		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
		nats.PingInterval(2*time.Second), nats.FlusherTimeout(2*time.Second), nats.IgnoreAuthErrorAbort())
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	pool := gcpool.NewPool()
	node, err := cluster.Join(pool, nc,
		cluster.WithName("node a"),
		cluster.WithPrefix("chat"),
		cluster.WithTimeout(3*time.Second),
		cluster.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	pool.Register("users")
	pool.Start()
	// …
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(pool.Shutdown(ctx), node.Leave(ctx), node.Err())
	// Output: <nil> <nil> <nil>
}

// A push on one node reaches a user on another. Here both nodes, and NATS, run in one process.
func ExampleNode() {
	url, end := startNATS()
	defer end()
	here, a, endA := startNode(url, "node a")
	there, _, endB := startNode(url, "node b")
	conn, alice := net.Pipe()
	there.GetConn("users").Add("alice", conn)
	read := make(chan string)
	go func() {
		buf := make([]byte, 100)
		n, _ := alice.Read(buf)
		read <- string(buf[:n])
	}()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for a.Stats().Nodes == 0 { // the nodes hear of each other within a second
		time.Sleep(time.Millisecond)
	}
	where, err := a.Where(ctx, "users", "alice")
	for err != nil && ctx.Err() == nil { // NATS needs a moment to know of alice
		where, err = a.Where(ctx, "users", "alice")
	}
	fmt.Println(a.Name(), "says: alice is at", where, err)
	for id, err := range a.Online(ctx, "users") {
		fmt.Println("online:", id, err)
	}
	fmt.Println("delivered:", here.GetStream("users").Deliver(ctx, "alice", []byte("hello")))
	fmt.Printf("alice has %q\n", <-read)
	fmt.Println("delivered:", here.GetStream("users").Deliver(ctx, "bob", []byte("hello")))
	endA(ctx)
	endB(ctx)
	// Output:
	// node a says: alice is at node b <nil>
	// online: alice <nil>
	// delivered: <nil>
	// alice has "hello\n"
	// delivered: gcpool: not connected
}
