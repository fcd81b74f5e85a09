package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/examples/push/page/pagetest"
)

func TestTakenAddressIsOneLineAndExitCode1(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var stdout, stderr bytes.Buffer
	addr := listener.Addr().String()
	if code := run(t.Context(), []string{"-addr", addr}, &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if text := stderr.String(); strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || !strings.Contains(text, addr) {
		t.Errorf("stderr is %q", text)
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout is %q", &stdout)
	}
}

func TestShutdownClosesClientsWith1001(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, stdout := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-addr", "127.0.0.1:0"}, stdout, &stderr)
		stdout.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	alice := pagetest.SignedIn(t, strings.Fields(line)[2], "alice")
	cancel()
	if status := alice.CloseStatus(); status != 1001 {
		t.Errorf("closed with %d", status)
	}
	select {
	case c := <-code:
		if c != 0 || stderr.Len() > 0 {
			t.Errorf("exit code %d, stderr %q", c, &stderr)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("run does not return")
	}
}
