// Devices serves machines that speak raw TCP instead of WebSocket: each message is a line, in
// both directions. A device says who it is, and then reports. Other services post commands to it.
//
//	SERVICE_KEY=secret go run ./examples/recipes/devices
//	nc localhost 7000                     # then type: hello sensor-7 demo-key-7
//	curl -i -H 'Authorization: Bearer secret' -d 'sleep 60' http://localhost:8080/devices/sensor-7
//
// In production, listen with crypto/tls: a *tls.Conn goes into the pool in the same way.
package main

import (
	"bufio"
	"context"
	"crypto/subtle"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
)

const (
	lineMax    = 4 << 10
	helloTime  = 5 * time.Second // to say hello
	silenceMax = time.Minute     // a device reports at least this often
)

var keys = map[string]string{"sensor-7": "demo-key-7"} // yours come from a store

var addr = flag.String("devices", "localhost:7000", "the `host:port` where devices connect")

func main() { demo.Main("devices", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool()
	if err := pool.Register("devices"); err != nil {
		return err
	}
	pool.Start()
	d := devices{pool.GetConn("devices"), pool.GetStream("devices")}
	tcp, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	fmt.Printf("devices: devices connect to %s\n", tcp.Addr())
	context.AfterFunc(ctx, func() { tcp.Close() })
	go d.accept(ctx, tcp)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /devices/{id}", demo.Services(d.command))
	return demo.Serve(ctx, listener, mux, pool)
}

type devices struct {
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
}

// accept lets devices in until ctx ends and the listener is closed.
func (d devices) accept(ctx context.Context, listener net.Listener) {
	places := make(chan struct{}, 10_000) // open connections, including those before hello
	for ctx.Err() == nil {
		places <- struct{}{}
		conn, err := listener.Accept()
		if err != nil { // out of file descriptors, say
			time.Sleep(10 * time.Millisecond)
			<-places
			continue
		}
		go func() {
			defer func() { <-places }()
			defer conn.Close()
			d.connected(conn)
		}()
	}
}

// connected serves one device. Once conn is in the pool, only the pool may write to it.
func (d devices) connected(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, lineMax)
	conn.SetReadDeadline(time.Now().Add(helloTime))
	lines.Scan()
	id, ok := identify(lines.Text())
	if !ok {
		fmt.Fprintln(conn, "who are you?")
		return
	}
	if d.conns.Add(id, conn) != nil {
		return
	}
	defer d.conns.Del(id)
	for conn.SetReadDeadline(time.Now().Add(silenceMax)) == nil && lines.Scan() {
		fmt.Printf("devices: %s reports %q\n", id, lines.Text())
	}
}

// identify returns the id in a hello, and whether the key is right.
func identify(hello string) (id string, ok bool) {
	words := append(strings.Fields(hello), "", "", "")
	key, known := keys[words[1]]
	return words[1], subtle.ConstantTimeCompare([]byte(key), []byte(words[2])) == 1 && known && words[0] == "hello"
}

func (d devices) command(w http.ResponseWriter, r *http.Request) {
	line, err := io.ReadAll(http.MaxBytesReader(w, r.Body, lineMax))
	if err != nil || strings.ContainsAny(string(line), "\r\n") { // otherwise one command becomes several
		http.Error(w, "a command is one line, of at most 4 KiB", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := d.stream.Deliver(ctx, r.PathValue("id"), line); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
