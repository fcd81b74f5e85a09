//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/nulijiabei/gcpool/bench/internal/clock"
)

const handshake = "GET /?id=%d HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nUpgrade: websocket\r\n" +
	"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// discard is the peer process: it reads raw TCP and drops the bytes. It reports when it has
// read the last byte, by the clock that all processes share.
func discard(l load) error {
	errs := make([]error, l.Users)
	var wg sync.WaitGroup
	for user := range l.Users {
		wg.Go(func() { errs[user] = read(l.Addr, user, int64(l.Each*frameLen(l.Size+len("\n")))) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(clock.Now())
}

// frameLen is the length of an unmasked frame (RFC 6455 section 5.2).
func frameLen(payload int) int {
	switch {
	case payload < 126:
		return 2 + payload
	case payload < 1<<16:
		return 4 + payload
	}
	return 10 + payload
}

// read connects as user and reads a number of bytes. It does not parse frames: a ping, which
// would come after 15 s, would count as two bytes.
func read(addr string, user int, bytes int64) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, handshake, user, addr, addr); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 256<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	for bytes > 0 {
		n, err := in.Discard(int(min(bytes, 1<<20)))
		if bytes -= int64(n); err != nil {
			return err
		}
	}
	return nil
}
