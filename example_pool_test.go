package gcpool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/nulijiabei/gcpool"
)

func ExampleNewPool() {
	pool := gcpool.NewPool(gcpool.WithOutbox(256 << 10)) // for all pools
	pool.Register("users")
	pool.Register("devices", gcpool.WithOutbox(4<<10)) // for this pool only
	for _, s := range pool.Stats() {
		fmt.Println(s.Name, s.OutboxLimit)
	}
	// Output:
	// devices 4096
	// users 262144
}

func ExamplePool_Register() {
	pool := gcpool.NewPool()
	pool.Start()

	fmt.Println(pool.Register("users")) // starts at once
	fmt.Println(pool.Register("users"))
	fmt.Println(pool.Register("devices", gcpool.WithOutbox(-1)))
	// Output:
	// <nil>
	// gcpool: pool already registered: "users"
	// gcpool: invalid argument: WithOutbox must be positive
}

func ExamplePool_GetConn() {
	pool := gcpool.NewPool()
	pool.Register("users")

	fmt.Println(pool.GetConn("users").Name())
	fmt.Println(pool.GetConn("usres").Get("alice", nil)) // a nil *ConnPool may be used
	// Output:
	// users
	// gcpool: pool not registered
}

func ExamplePool_GetStream() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()

	users := pool.GetStream("users") // may be kept
	fmt.Println(users.Name(), users.Add("alice", []byte("hello")))

	err := pool.GetStream("usres").Add("alice", []byte("hello")) // a nil *StreamPool may be used
	fmt.Println(errors.Is(err, gcpool.ErrNotRegistered))
	// Output:
	// users <nil>
	// true
}

func ExamplePool_Start() {
	pool := gcpool.NewPool()
	pool.Register("users", gcpool.WithBuffer(100))
	alice := connect(pool.GetConn("users"), "alice")

	users := pool.GetStream("users")
	users.Add("alice", []byte("before Start"))
	fmt.Println(users.Len(), "of", users.Cap(), "places are taken")

	pool.Start()
	pool.Shutdown(context.Background())
	<-alice
	// Output:
	// 1 of 100 places are taken
	// alice received before Start
}

func ExamplePool_Stats() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	server, peer := net.Pipe()
	go io.Copy(io.Discard, peer) // alice reads
	pool.GetConn("users").Add("alice", server)

	ctx := context.Background()
	pool.GetStream("users").Deliver(ctx, "alice", []byte("hello"))
	pool.GetStream("users").Deliver(ctx, "bob", []byte("hello"))

	for _, s := range pool.Stats() {
		fmt.Printf("%s: %d connected\n", s.Name, s.Connections)
		fmt.Printf("%d accepted = %d written + %d forwarded + %d undelivered + %d waiting\n",
			s.Accepted, s.Written, s.Forwarded, s.Undelivered, s.Waiting)
		fmt.Printf("%d to ids that were not connected\n", s.NotConnected)
	}
	// Output:
	// users: 1 connected
	// 2 accepted = 1 written + 0 forwarded + 1 undelivered + 0 waiting
	// 1 to ids that were not connected
}

func ExampleStreamPool_BroadcastContext() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	alice := connect(pool.GetConn("users"), "alice")

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // for slow peers
	defer cancel()
	err := pool.GetStream("users").BroadcastContext(ctx, []byte("maintenance at noon"))

	pool.Shutdown(context.Background())
	<-alice
	fmt.Println(err)
	// Output:
	// alice received maintenance at noon
	// <nil>
}

func ExampleStreamPool_AddContext() {
	pool := gcpool.NewPool()
	pool.Register("users", gcpool.WithBuffer(1))
	users := pool.GetStream("users")
	users.Add("alice", []byte("one")) // takes the only place, because Start has not been called

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := users.AddContext(ctx, "alice", []byte("two"))
	fmt.Println(err)
	// Output: context canceled
}
