// Devices serves machines that speak no WebSocket: raw TCP, one line a message,
// both ways. A device says who it is, and reports; commands are posted to it.
//
//	SERVICE_KEY=secret go run ./examples/recipes/devices
//	nc localhost 7000                     # then type: hello sensor-7 demo-key-7
//	curl -i -H 'Authorization: Bearer secret' -d 'sleep 60' http://localhost:8080/devices/sensor-7
//
// A real server listens with crypto/tls, for keys must not travel in the clear; a
// *tls.Conn goes into the pool just the same.
package main

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
)

const (
	lineMax    = 4 << 10
	helloTime  = 5 * time.Second // to say hello
	silenceMax = time.Minute     // a device reports at least this often
	devicesMax = 10_000          // connections at once, strangers among them
)

// keys stands for your store of devices, with one for trying it.
var keys = map[string]string{"sensor-7": "demo-key-7"}

var tcp = flag.String("devices", "localhost:7000", "the `host:port` where devices connect")

func main() { demo.Main("devices", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool()
	if err := pool.Register("devices"); err != nil {
		return err
	}
	pool.Start()
	d := devices{pool.GetConn("devices"), pool.GetStream("devices")}
	lines, err := net.Listen("tcp", *tcp)
	if err != nil {
		return err
	}
	fmt.Printf("devices: devices connect to %s\n", lines.Addr())
	context.AfterFunc(ctx, func() { lines.Close() })
	var connected sync.WaitGroup
	connected.Go(func() { d.accept(lines) })
	mux := http.NewServeMux()
	mux.HandleFunc("POST /devices/{id}", demo.Services(d.command))
	err = demo.Serve(ctx, listener, mux, pool)
	connected.Wait() // the pool has closed the connections
	return err
}

type devices struct {
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
}

// accept serves devices until the listener is closed, and they have left.
func (d devices) accept(listener net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, devicesMax)
	for {
		places <- struct{}{}
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil { // out of file descriptors, say
			time.Sleep(10 * time.Millisecond)
			<-places
			continue
		}
		wg.Go(func() {
			defer func() { <-places }()
			defer conn.Close()
			d.connected(conn)
		})
	}
}

// connected serves one device. Once it is in the pool nobody else may write to it.
func (d devices) connected(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, lineMax)
	conn.SetReadDeadline(time.Now().Add(helloTime))
	if !lines.Scan() {
		return
	}
	id, ok := identify(lines.Text())
	if !ok {
		fmt.Fprintln(conn, "who are you?")
		return
	}
	conn.SetReadDeadline(time.Now().Add(silenceMax))
	if d.conns.Add(id, conn) != nil {
		return
	}
	defer d.conns.Del(id)
	for lines.Scan() {
		fmt.Printf("devices: %s reports %q\n", id, lines.Text())
		conn.SetReadDeadline(time.Now().Add(silenceMax))
	}
}

// identify returns who says hello, if the key is right.
func identify(hello string) (id string, ok bool) {
	words := strings.Fields(hello)
	if len(words) != 3 || words[0] != "hello" {
		return "", false
	}
	key, known := keys[words[1]]
	return words[1], subtle.ConstantTimeCompare([]byte(key), []byte(words[2])) == 1 && known
}

func (d devices) command(w http.ResponseWriter, r *http.Request) {
	line, err := io.ReadAll(http.MaxBytesReader(w, r.Body, lineMax))
	if err != nil || strings.ContainsAny(string(line), "\r\n") { // they would make several commands of one
		http.Error(w, "a command is one line, of at most 4 KiB", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := d.stream.Deliver(ctx, r.PathValue("id"), line); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
