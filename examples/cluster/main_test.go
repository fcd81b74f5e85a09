package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/examples/push/page/pagetest"
	"go.uber.org/goleak"
)

// Not parallel: what other tests have running would be counted.
func TestEndLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	urls, end := runCluster(t)
	var all []*pagetest.Client
	for i, name := range []string{"alice", "bob", "carol"} {
		all = append(all, pagetest.SignedIn(t, urls[i], name))
	}
	closed := make(chan int, len(all))
	for _, c := range all {
		go func() { closed <- c.CloseStatus() }()
	}
	end()
	for range all {
		if status := <-closed; status != 1001 {
			t.Errorf("closed with %d", status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := leaks(before); err != nil {
		t.Error(err)
	}
}

func TestUnreachableNATSIsOneLineAndExitCode1(t *testing.T) {
	t.Parallel()
	const addr = "127.0.0.1:1" // a port that the system gives to nobody
	line := refused(t, "-addr", "127.0.0.1:0", "-nats", "nats://me:secret@"+addr)
	if !strings.Contains(line, "no NATS server at nats://"+addr) || strings.Contains(line, "secret") {
		t.Errorf("stderr is %q", line)
	}
}

func TestTakenAddressIsOneLineAndExitCode1(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the port of the second node
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port
	line := refused(t, "-addr", net.JoinHostPort("127.0.0.1", strconv.Itoa(taken-1)))
	// Somebody else may have the port of the first node.
	if !strings.Contains(line, fmt.Sprint(":", taken)) && !strings.Contains(line, fmt.Sprint(":", taken-1)) || !strings.Contains(line, "-addr") {
		t.Errorf("stderr is %q", line)
	}
}

func TestSenselessAddressIsOneLineAndExitCode1(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"8080", "127.0.0.1:http?", "127.0.0.1:65535"} {
		refused(t, "-addr", addr)
	}
}

// refused runs the example, which should not start, and returns what it says.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args, &stdout, &stderr); code != 1 {
		t.Errorf("%v: exit code %d", args, code)
	}
	if text := stderr.String(); strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || stdout.Len() > 0 {
		t.Errorf("%v: stderr is %q, stdout %q", args, text, &stdout)
	}
	return stderr.String()
}

func TestClusterOverAServerThatIsThere(t *testing.T) {
	t.Parallel()
	b, _ := startBus(t)
	one := startCluster(t, "-nats", b.url)
	two := startCluster(t, "-nats", b.url, "-name", "other") // as a second process
	alice := pagetest.SignedIn(t, one[0], "alice")
	bob := pagetest.SignedIn(t, two[2], "bob")
	awaitPeople(alice, "alice on node 1", "bob on other 3")
	alice.Send(pagetest.Request{To: "bob", Text: "hi", Ref: 1})
	if m := bob.Next("message"); m.From != "alice" || m.Text != "hi" {
		t.Errorf("message is %+v", m)
	}
	if o := alice.Next("outcome"); o.Error != "" {
		t.Errorf("outcome is %+v", o)
	}
}

func TestURLIsShownWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"nats://a:4222":                               "nats://a:4222",
		"nats://me:secret@a:4222":                     "nats://a:4222",
		"nats://token@a,nats://me:secret@b":           "nats://a,nats://b",
		"me:secret@a":                                 "a",
		"tls://me:p%zz@a:4222, nats://me:secret@b:42": "a:4222,nats://b:42",
	} {
		if got := redacted(url); got != want {
			t.Errorf("redacted(%q) = %q, want %q", url, got, want)
		}
	}
}
