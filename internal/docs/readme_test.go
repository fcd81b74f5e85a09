package docs

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/nulijiabei/gcpool" // so that the go command runs these tests anew when it has changed
	"golang.org/x/net/websocket"
)

// patience is how long anything here may take.
const patience = 10 * time.Second

// The first program of each README, as printed, serves its users and nobody else.
func TestTheServerInTheREADMEServesOnlyItsUsers(t *testing.T) {
	for _, file := range []string{"README.md", "README.zh-CN.md"} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			sources := printed(t, file)
			if len(sources) == 0 {
				t.Fatal("it prints no program")
			}
			host := run(t, sources[0])
			bob, alice := signedIn(t, host, "bob"), signedIn(t, host, "alice")
			send(t, bob, "I am here\n") // all goes to bob: now he has been added
			expect(t, bob, "I am here\n")
			send(t, alice, "hello bob\n")
			expect(t, bob, "hello bob\n")

			strangerIsRefused(t, host)
			if ws, err := dial(host, "alice", "http://elsewhere.example"); err == nil {
				ws.Close()
				t.Error("a page of another origin is let in")
			} else if !refused(err) {
				t.Errorf("a page of another origin is told %v", err)
			}
			send(t, alice, "anybody else?\n")
			expect(t, bob, "anybody else?\n")
		})
	}
}

// strangerIsRefused sends a line as nobody, and waits for the server to close: what
// it would pass on has been passed on by then.
func strangerIsRefused(t *testing.T, host string) {
	t.Helper()
	ws, err := dial(host, "", "http://"+host)
	if refused(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	websocket.Message.Send(ws, "from a stranger\n") // fails if the server was faster
	if text, err := receive(ws); err == nil {
		t.Errorf("a stranger gets %q", text)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a stranger is served")
	}
}

// run builds a program, with what its page leaves to the reader, runs it until the
// test ends, and returns its host and port once it listens.
func run(t *testing.T, source string) (host string) {
	t.Helper()
	free, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	// It is printed with port 8080, which may be taken. Nothing but the port is changed.
	_, port, _ := net.SplitHostPort(free.Addr().String())
	if n := strings.Count(source, `":8080"`); n != 1 {
		t.Fatalf("the program names its port %d times", n)
	}
	binary := build(t, strings.Replace(source, `":8080"`, `":`+port+`"`, 1), yours)
	free.Close() // no sooner, for building takes seconds, in which others look for a port
	host = net.JoinHostPort("127.0.0.1", port)
	await(t, host, binary)
	return host
}

// build returns the executable of a program in package main. The root module is what
// its imports are found in.
func build(t *testing.T, sources ...string) string {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "server.exe") // Windows asks for the ending
	args := []string{"build", "-o", binary}
	for i, source := range sources {
		file := filepath.Join(dir, string(rune('a'+i))+".go")
		if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// await starts an executable, which ends with the test, and returns when it listens.
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
			t.Fatal("the server has ended")
		case <-deadline:
			t.Fatal("the server does not listen")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// signedIn connects a user from a page of the server.
func signedIn(t *testing.T, host, user string) *websocket.Conn {
	t.Helper()
	ws, err := dial(host, user, "http://"+host)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// dial connects as a user, "" for nobody, from a page of an origin.
func dial(host, user, origin string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig("ws://"+host+"/hello", origin)
	if err != nil {
		return nil, err
	}
	if user != "" {
		config.Header.Set("Cookie", "user="+user)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return config.DialContext(ctx)
}

// refused tells whether the server answered a handshake with an error of HTTP.
func refused(err error) bool {
	dial, ok := errors.AsType[*websocket.DialError](err)
	return ok && dial.Err == websocket.ErrBadStatus
}

func send(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := websocket.Message.Send(ws, text); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
}

func expect(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	text, err := receive(ws)
	if err != nil {
		t.Fatalf("instead of %q: %v", want, err)
	}
	if text != want {
		t.Errorf("bob gets %q, not %q", text, want)
	}
}

// receive returns the next message, or an error if none comes in time.
func receive(ws *websocket.Conn) (text string, err error) {
	ws.SetReadDeadline(time.Now().Add(patience))
	err = websocket.Message.Receive(ws, &text)
	return text, err
}
