package gcpool_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
)

func ExampleConnPool_Del() {
	pool := gcpool.NewPool()
	pool.Register("users")
	users := pool.GetConn("users")
	alice := connect(users, "alice")

	fmt.Println(users.Del("alice"))
	<-alice // her connection is closed
	fmt.Println(users.Del("alice"))
	// Output:
	// true
	// false
}

func ExampleConnPool_DelConn() {
	pool := gcpool.NewPool()
	pool.Register("devices")
	devices := pool.GetConn("devices")

	first, _ := net.Pipe()
	devices.Add("sensor-7", first)
	second, _ := net.Pipe()
	devices.Add("sensor-7", second) // the newest wins, and the pool closes the first

	fmt.Println(devices.DelConn("sensor-7", first)) // already replaced
	fmt.Println(devices.DelConn("sensor-7", second))
	// Output:
	// false
	// true
}

func ExampleConnPool_Kick() {
	pool := gcpool.NewPool()
	pool.Register("users")
	users := pool.GetConn("users")
	alice := connect(users, "alice")

	closed, err := users.Kick("alice", 4003, "signed out by an administrator")
	fmt.Println(closed, err)
	<-alice // her connection is closed
	_, err = users.Kick("alice", 1006, "")
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// gcpool: invalid argument: close code 1006 is neither 1000 nor from 3000 to 4999
}

func ExampleConnPool_Connected() {
	pool := gcpool.NewPool()
	pool.Register("users")
	users := pool.GetConn("users")
	connect(users, "alice")

	fmt.Println(users.Connected("alice"), users.Connected("bob"))
	// Output:
	// 1 0
}

func ExampleConnPool_Get() {
	pool := gcpool.NewPool()
	pool.Register("users")
	users := pool.GetConn("users")
	connect(users, "alice")

	err := users.Get("alice", func(conn net.Conn) error {
		fmt.Println("connected over a", conn.RemoteAddr().Network())
		return errors.New("unwanted") // the pool removes and closes the connection
	})
	fmt.Println(err)
	fmt.Println(users.Get("alice", func(net.Conn) error { return nil }))
	// Output:
	// connected over a pipe
	// unwanted
	// gcpool: not connected
}

func ExampleConnPool_All() {
	pool := gcpool.NewPool()
	pool.Register("users")
	users := pool.GetConn("users")
	for _, id := range []string{"alice", "bob", "carol"} {
		connect(users, id)
	}

	for id := range users.All() {
		if id == "bob" {
			users.Del(id) // a pool may change during the iteration
		}
	}
	fmt.Println(users.Len(), slices.Sorted(maps.Keys(maps.Collect(users.All()))))
	// Output: 2 [alice carol]
}

func ExampleWithBuffer() {
	pool := gcpool.NewPool(gcpool.WithBuffer(2))
	pool.Register("users")
	users := pool.GetStream("users")
	users.Add("alice", []byte("one")) // these wait for Start
	users.Add("alice", []byte("two"))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	fmt.Println(users.AddContext(ctx, "alice", []byte("three")))
	// Output: gcpool: Start has not been called: context deadline exceeded
}

func ExampleWithOutbox() {
	pool := gcpool.NewPool(gcpool.WithOutbox(1000))
	pool.Register("users")
	fmt.Println(pool.GetStream("users").Add("alice", make([]byte, 1001)))
	// Output: gcpool: message larger than the outbox: 1001 bytes; WithOutbox is 1000
}

func ExampleWithOverflow() {
	pool := gcpool.NewPool(
		gcpool.WithOutbox(20),
		gcpool.WithOverflow(gcpool.DropOldest), // only the latest position matters
	)
	pool.Register("positions")
	pool.Start()
	server, peer := net.Pipe()
	pool.GetConn("positions").Add("map", server)

	pool.GetStream("positions").Add("map", []byte("km 0.."))
	first := make([]byte, 1)
	peer.Read(first) // the first message is on its way; then the peer reads nothing for a second
	for i := range 4 {
		pool.GetStream("positions").Add("map", fmt.Appendf(nil, "km %d..", i+1))
	}
	lines := bufio.NewReader(io.MultiReader(bytes.NewReader(first), peer))
	for range 3 {
		line, _ := lines.ReadString('\n')
		fmt.Print(line)
	}
	// Output:
	// km 0..
	// km 3..
	// km 4..
}

func ExampleWithWriteTimeout() {
	told := make(chan struct{})
	pool := gcpool.NewPool(
		gcpool.WithWriteTimeout(50*time.Millisecond),
		gcpool.WithUndelivered(func(u gcpool.Undelivered) {
			fmt.Println(u.ID, u.Err)
			close(told)
		}),
	)
	pool.Register("devices")
	pool.Start()
	server, _ := net.Pipe() // nobody reads from the other end
	pool.GetConn("devices").Add("sensor-7", server)

	pool.GetStream("devices").Add("sensor-7", []byte("sleep 60"))
	<-told
	// Output: sensor-7 gcpool: peer too slow
}

func ExampleConnPool_Info() {
	pool := gcpool.NewPool(gcpool.WithMailbox(time.Hour, 1<<20))
	pool.Register("users")
	pool.Start()
	pool.GetStream("users").Add("carol", []byte("hello"))

	info := pool.GetConn("users").Info("carol")
	fmt.Println("connected:", !info.Since.IsZero())
	fmt.Println("waiting:", info.Waiting, "of them in the mailbox:", info.Mailbox)
	// Output:
	// connected: false
	// waiting: 1 of them in the mailbox: 1
}

func ExampleWithNewline() {
	pool := gcpool.NewPool(gcpool.WithNewline(false))
	pool.Register("devices")
	pool.Start()
	server, device := net.Pipe()
	pool.GetConn("devices").Add("sensor-7", server)

	pool.GetStream("devices").Add("sensor-7", []byte{3, 's', 'l', 'p'}) // begins with its own length
	frame := make([]byte, 16)
	n, _ := device.Read(frame)
	fmt.Printf("%q\n", frame[:n])
	// Output: "\x03slp"
}

func ExampleWithPresence() {
	pool := gcpool.NewPool(gcpool.WithPresence(func(pool, id string, connected bool) {
		fmt.Println(pool, id, connected)
	}))
	pool.Register("users")
	users := pool.GetConn("users")
	connect(users, "alice")
	connect(users, "alice") // a takeover is not reported
	users.Del("alice")
	pool.Shutdown(context.Background()) // waits for the hook
	// Output:
	// users alice true
	// users alice false
}
