package docs

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// patience bounds every wait in these tests.
const patience = 30 * time.Second

// libraries is a module that requires the WebSocket libraries used by the README's program.
var libraries = filepath.Join(root, "examples", "adapters")

// build returns the executable of a program in package main.
func build(t *testing.T, source string) string {
	t.Helper()
	if _, err := os.Stat(libraries); err != nil {
		t.Skip("examples/adapters is not here")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "server.exe") // Windows needs the extension
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", binary, file)
	cmd.Dir, cmd.Env = libraries, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// await starts an executable and returns when it listens. The end of the test stops it.
func await(t *testing.T, host, binary string) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(binary)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the server wrote %q", &output)
		}
	})
	for deadline := time.After(patience); ; {
		if conn, err := net.Dial("tcp", host); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatal("the server exited early")
		case <-deadline:
			t.Fatal("the server does not listen")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// client is a user's WebSocket.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

// connected connects a user from a page of the server.
func connected(t *testing.T, host, user string) client {
	t.Helper()
	ws, err := dial(host, "demo-"+user, "http://"+host)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	t.Cleanup(func() { ws.Close() })
	return client{t, ws}
}

// gets expects the message want, after a push that got the given status.
func (c client) gets(want string, status int) {
	c.t.Helper()
	if status != http.StatusOK {
		c.t.Errorf("the push got status %d", status)
	}
	text, err := c.receive()
	if err != nil {
		c.t.Fatalf("instead of %q: %v", want, err)
	}
	if text != want {
		c.t.Errorf("got %q, not %q", text, want)
	}
}

// isClosed expects the connection to end without another message.
func (c client) isClosed() {
	c.t.Helper()
	if text, err := c.receive(); err == nil {
		c.t.Errorf("got %q instead of the end", text)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Error("the connection does not end")
	}
}

// receive returns the next message, or an error if none comes in time.
func (c client) receive() (text string, err error) {
	c.ws.SetReadDeadline(time.Now().Add(patience))
	err = websocket.Message.Receive(c.ws, &text)
	return text, err
}

// dial connects from a page of an origin, with a session, or without one if session is "".
func dial(host, session, origin string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig("ws://"+host+"/ws", origin)
	if err != nil {
		return nil, err
	}
	if session != "" {
		config.Header.Set("Cookie", "session="+session)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return config.DialContext(ctx)
}

// dialError returns the error of a handshake, or nil if it succeeds.
func dialError(host, session, origin string) error {
	ws, err := dial(host, session, origin)
	if err == nil {
		ws.Close()
	}
	return err
}

// refused reports whether the server answered a handshake with an HTTP error.
func refused(err error) bool {
	dial, ok := errors.AsType[*websocket.DialError](err)
	return ok && dial.Err == websocket.ErrBadStatus
}
