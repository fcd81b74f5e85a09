package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A server is the example as a user runs it, in a process of its own.
type server struct {
	t       *testing.T
	addr    string
	url     string
	process *exec.Cmd
	stderr  bytes.Buffer // read only after the process has ended
	ended   chan error
}

// newServer starts a server. A Ctrl-C ends it, and its exit code must be 0.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, addr: freeAddr(t)}
	s.url = "http://" + s.addr
	s.start()
	t.Cleanup(s.stop)
	return s
}

// given has the addresses that freeAddr has returned.
var given sync.Map

// freeAddr returns an address that is free now, and that no other test gets. It is below the ports
// that the system hands out on request, because a server that comes back needs its own port again.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if _, taken := given.LoadOrStore(addr, true); taken {
			continue
		}
		if listener, err := net.Listen("tcp", addr); err == nil {
			listener.Close()
			return addr
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// start runs the program until it says where it serves.
func (s *server) start() {
	s.t.Helper()
	s.stderr.Reset()
	s.process = exec.Command(program, "-addr", s.addr)
	s.process.Stderr = &s.stderr
	pipe, err := s.process.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	hurry := time.AfterFunc(patience, func() { s.process.Process.Kill() })
	stdout := bufio.NewReader(pipe)
	line, _ := stdout.ReadString('\n')
	hurry.Stop()
	ended := make(chan error, 1)
	go func(process *exec.Cmd) {
		io.Copy(io.Discard, stdout)
		ended <- process.Wait()
	}(s.process)
	s.ended = ended
	if !strings.Contains(line, s.url) {
		s.stop()
		s.t.Fatalf("the server says %q", line)
	}
}

// stop sends a Ctrl-C, and waits for the end.
func (s *server) stop() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	process := s.process
	s.process = nil
	process.Process.Signal(os.Interrupt)
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("the server: %v\n%s", err, &s.stderr)
		}
	case <-time.After(patience):
		process.Process.Kill()
		<-s.ended
		s.t.Errorf("the server does not stop\n%s", &s.stderr)
	}
}
