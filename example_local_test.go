package gcpool_test

import (
	"context"
	"fmt"
	"net"

	"github.com/nulijiabei/gcpool"
)

func ExampleNewLocal() {
	pool := gcpool.NewPool()
	local := gcpool.NewLocal(pool)
	_, err := local.Receive("users", "alice", nil, func([]error) {})
	fmt.Println(err)
	// Output: gcpool: pool not registered
}

func ExampleLocal_Receive() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	alice := connect(pool.GetConn("users"), "alice")

	batch := [][]byte{[]byte("hello"), []byte("from another process")}
	done := make(chan []error)
	taken, err := gcpool.NewLocal(pool).Receive("users", "alice", batch, func(errs []error) { done <- errs })
	fmt.Println(taken, err, <-done)

	pool.Shutdown(context.Background())
	for range batch {
		<-alice
	}
	// Unordered output:
	// 2 <nil> [<nil> <nil>]
	// alice received hello
	// alice received from another process
}

func ExampleLocal_Evict() {
	pool := gcpool.NewPool()
	pool.Register("users")
	server, client := net.Pipe()
	pool.GetConn("users").Add("alice", server)

	local := gcpool.NewLocal(pool) // alice has connected to another process
	fmt.Println(local.Evict("users", "alice", client), local.Evict("users", "alice", server))
	// Output: false true
}

func ExampleLocal_Appeared() {
	pool := gcpool.NewPool()
	pool.Register("users")
	local := gcpool.NewLocal(pool)
	local.Appeared("users", "alice") // messages that wait for alice now go to the Cluster
	local.Appeared("users", "")      // and so do messages for all other ids
	fmt.Println(pool.Stats()[0].Waiting)
	// Output: 0
}

func ExampleLocal_Since() {
	pool := gcpool.NewPool()
	pool.Register("users")
	connect(pool.GetConn("users"), "alice")

	local := gcpool.NewLocal(pool)
	fmt.Println(local.Since("users", "alice").IsZero(), local.Since("users", "bob").IsZero())
	// Output: false true
}
