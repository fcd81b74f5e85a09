package gcpool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// The parts of a server that pushes to its users by id.
func Example() {
	pool := gcpool.NewPool()
	if err := pool.Register("users"); err != nil {
		panic(err)
	}
	pool.Start()

	hello := func(ws *websocket.Conn) {
		id := "alice" // from the session of ws.Request(), never from the query
		if err := pool.GetConn("users").Add(id, ws); err != nil {
			return
		}
		defer pool.GetConn("users").Del(id)
		lines := bufio.NewScanner(ws)
		lines.Buffer(make([]byte, 512), 64<<10) // bounds what a peer can make the server hold
		for lines.Scan() {
			// what alice sends
		}
	}
	http.Handle("/hello", gcpool.Upgrade(websocket.Server{Handshake: gcpool.SameOrigin, Handler: hello}))

	// From anywhere in the server:
	if err := pool.GetStream("users").Add("alice", []byte(`{"hi":1}`)); err != nil {
		fmt.Println(err)
	}
	// Output:
}

// connect adds an in-memory connection to the pool, and prints each line that its peer receives.
func connect(conns *gcpool.ConnPool, id string) (done chan struct{}) {
	server, peer := net.Pipe()
	if err := conns.Add(id, server); err != nil {
		fmt.Println(err)
	}
	done = make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(peer); lines.Scan(); {
			fmt.Printf("%s received %s\n", id, lines.Text())
		}
	}()
	return done
}

func ExampleConnPool_Add() {
	pool := gcpool.NewPool()
	pool.Register("devices")
	pool.Start()

	// Any net.Conn will do; its peer gets payloads, each with a newline.
	server, device := net.Pipe()
	if err := pool.GetConn("devices").Add("sensor-7", server); err != nil {
		fmt.Println(err)
	}
	pool.GetStream("devices").Add("sensor-7", []byte("sleep 60"))

	line, _ := bufio.NewReader(device).ReadString('\n')
	fmt.Printf("%q\n", line)
	// Output: "sleep 60\n"
}

func ExampleStreamPool_Add() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	done := connect(pool.GetConn("users"), "alice")

	data := []byte("one")
	pool.GetStream("users").Add("alice", data)
	copy(data, "two") // Add has copied it
	pool.GetStream("users").Add("alice", data)

	pool.Shutdown(context.Background())
	<-done
	// Output:
	// alice received one
	// alice received two
}

func ExampleStreamPool_Deliver() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	connect(pool.GetConn("users"), "alice")

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := pool.GetStream("users").Deliver(ctx, "bob", []byte("are you there?"))
	if errors.Is(err, gcpool.ErrNotConnected) {
		fmt.Println("bob is not connected")
	}
	// Output: bob is not connected
}

func ExampleStreamPool_AddFunc() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()

	pool.GetStream("users").AddFunc("bob", []byte("hello"), func(err error) {
		fmt.Println("bob:", err)
	})

	pool.Shutdown(context.Background()) // waits for the outcome
	// Output: bob: gcpool: not connected
}

func ExampleStreamPool_Broadcast() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	alice := connect(pool.GetConn("users"), "alice")

	pool.GetStream("users").Broadcast([]byte("maintenance at noon"))

	pool.Shutdown(context.Background())
	<-alice
	// Output: alice received maintenance at noon
}

func ExampleWithUndelivered() {
	told := make(chan struct{})
	pool := gcpool.NewPool(gcpool.WithUndelivered(func(u gcpool.Undelivered) {
		fmt.Printf("%s did not get %q: %v\n", u.ID, u.Data, u.Err)
		close(told)
	}))
	pool.Register("users")
	pool.Start()

	pool.GetStream("users").Add("bob", []byte("hello")) // accepted, and reported
	<-told
	// Output: bob did not get "hello": gcpool: not connected
}

func ExampleWithMailbox() {
	pool := gcpool.NewPool(gcpool.WithMailbox(time.Minute, 1<<20))
	pool.Register("users")
	pool.Start()

	pool.GetStream("users").Add("bob", []byte("while you were away"))
	bob := connect(pool.GetConn("users"), "bob")

	pool.Shutdown(context.Background())
	<-bob
	// Output: bob received while you were away
}

func ExamplePool_Shutdown() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	alice := connect(pool.GetConn("users"), "alice")
	pool.GetStream("users").Add("alice", []byte("the last word"))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := pool.Shutdown(ctx); err != nil {
		fmt.Println("a client has not closed in time:", err) // Stats and WithUndelivered say what was lost
	}
	<-alice
	s := pool.Stats()[0]
	fmt.Printf("%d accepted, %d written, %d waiting\n", s.Accepted, s.Written, s.Waiting)
	// Output:
	// alice received the last word
	// 1 accepted, 1 written, 0 waiting
}
