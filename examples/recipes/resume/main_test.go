package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

func start(t *testing.T) (url string) {
	t.Helper()
	return try.Start(t, []string{"-addr", "127.0.0.1:0"}, "SERVICE_KEY=secret").Addr()
}

func push(t *testing.T, url, user, text string) {
	t.Helper()
	if status, answer := try.Do(t, "POST", url+"/push/"+user, try.Bearer("secret"), text); status != 202 {
		t.Fatalf("%d %s", status, answer)
	}
}

// TestSlowReaderIsToldToComeBack: a message that found no room in time is pushed no more, so the
// client has to come back to hear of it.
func TestSlowReaderIsToldToComeBack(t *testing.T) {
	t.Parallel()
	url := start(t)
	alice, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	alice.(*net.TCPConn).SetReadBuffer(8 << 10)
	fmt.Fprintf(alice, "GET /ws HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nCookie: session=demo-alice\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		strings.TrimPrefix(url, "http://"), url)
	in := bufio.NewReader(alice)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	io.WriteString(alice, "\x81\x8b\x00\x00\x00\x00"+`{"after":0}`) // is answered once she is in the pool
	const answer = `{"after":0,"from":0,"log":"`
	if got, err := in.Peek(2 + len(answer)); err != nil || string(got[2:]) != answer {
		t.Fatalf("the answer is %q, %v", got, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		part := make([]byte, 16<<10)
		for range time.Tick(400 * time.Millisecond) {
			if _, err := io.ReadFull(in, part); err != nil {
				return
			}
		}
	}()
	// On a busy machine a push may take two seconds though it finds room, and the pool may find
	// her too slow before one does. Then all she lacks is stored at once.
	for range 5 {
		for full := false; !full; {
			began := time.Now()
			status, _ := try.Do(t, "POST", url+"/push/alice", try.Bearer("secret"), strings.Repeat("x", 16_000))
			full = time.Since(began) >= 2*time.Second || status == http.StatusInsufficientStorage
		}
		select {
		case <-ended:
			return
		case <-time.After(15 * time.Second):
		}
	}
	t.Error("her connection goes on without the last message")
}

func TestClientGetsWhatItLacks(t *testing.T) {
	t.Parallel()
	url := start(t)
	for i := 1; i <= 3; i++ {
		push(t, url, "alice", fmt.Sprint("m", i))
	}
	expect := func(c *try.Client, lines ...string) {
		t.Helper()
		for _, want := range lines {
			if got := c.Next(); got != want {
				t.Fatalf("got %s instead of %s", got, want)
			}
		}
	}
	alice := try.Dial(t, url+"/ws", "demo-alice")
	alice.Send(`{"after":0}`)
	var first struct{ Log string }
	if line := alice.Next(); json.Unmarshal([]byte(line), &first) != nil || first.Log == "" {
		t.Fatalf("the answer is %s", line)
	}
	answer := func(after, from int) string {
		return fmt.Sprintf(`{"after":%d,"from":%d,"log":%q}`, after, from, first.Log)
	}
	expect(alice, `{"n":1,"text":"m1"}`, `{"n":2,"text":"m2"}`, `{"n":3,"text":"m3"}`)
	push(t, url, "alice", "m4")
	expect(alice, `{"n":4,"text":"m4"}`)
	alice.Send(`{"ack":2}`)
	alice.Send(`{"after":0}`) // it has lost count
	expect(alice, answer(0, 2), `{"n":3,"text":"m3"}`, `{"n":4,"text":"m4"}`)
	alice.Send(`{"after":3,"log":"of another user, or of an earlier store"}`)
	expect(alice, answer(3, 2), `{"n":3,"text":"m3"}`, `{"n":4,"text":"m4"}`)
	alice.Send(fmt.Sprintf(`{"after":3,"log":%q}`, first.Log))
	expect(alice, answer(3, 3), `{"n":4,"text":"m4"}`)
	alice.Send(`{"ack":99}`)
	for _, after := range []int{4, 99} { // the store has lost 5 to 99
		alice.Send(fmt.Sprintf(`{"after":%d,"log":%q}`, after, first.Log))
		expect(alice, answer(after, 4))
	}
	alice.Close()

	for i := range unreadMax {
		push(t, url, "bob", fmt.Sprint(i))
	}
	if status, _ := try.Do(t, "POST", url+"/push/bob", try.Bearer("secret"), "one too many"); status != 507 {
		t.Errorf("status %d", status)
	}
	try.Refused(t, url+"/ws", "demo-alice")
	if status, _ := try.Do(t, "POST", url+"/push/alice", try.Bearer("guess"), "hi"); status != 401 {
		t.Errorf("a push of a stranger: status %d", status)
	}
	if _, page := try.Do(t, "GET", url+"/", nil, ""); !strings.Contains(page, client) {
		t.Errorf("the page is %s", page)
	}
}

// client.test.js has the orders of lines that are too rare for a network.
func TestClientKeepsCountWhateverComes(t *testing.T) {
	t.Parallel()
	const script = "testdata/client.test.js"
	if _, err := os.Stat(script); err != nil { // and so the go command knows that it matters
		t.Fatal(err)
	}
	if out, err := exec.Command(needNode(t), script).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// needNode returns Node.js. It skips the test if there is none, or fails where it must not.
func needNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("GCPOOL_REQUIRE_CLIENTS") == "1" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	return node
}

// The client runs behind a network that cuts its connection every few milliseconds.
func TestNothingIsLostOrDoubledOnABadNetwork(t *testing.T) {
	t.Parallel()
	node := needNode(t)
	if exec.Command(node, "--experimental-websocket", "-e", "WebSocket").Run() != nil {
		t.Skip("this Node.js has no WebSocket; 20.10 and later have")
	}
	url := start(t)
	cmd := exec.Command(node, "--experimental-websocket", "testdata/page.js", badNetwork(t, strings.TrimPrefix(url, "http://")), "demo-alice")
	cmd.Stderr = os.Stderr
	shown, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	const messages = 3000
	push(t, url, "alice", "m0")
	stop := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() })
	defer stop.Stop()
	lines := bufio.NewScanner(shown)
	for i := range messages {
		if !lines.Scan() {
			t.Fatalf("it ended, or showed no more than %d messages in three minutes", i)
		}
		if want := fmt.Sprint("m", i); lines.Text() != want {
			t.Fatalf("it showed %q instead of %q", lines.Text(), want)
		}
		if i == 0 { // it is connected
			go pushAll(url, messages)
		}
	}
}

// pushAll pushes m1, m2 and so on to alice, until the server has gone.
func pushAll(url string, messages int) {
	for i := 1; i < messages; i++ {
		for status := 0; status != http.StatusAccepted; { // a slow client may have too many unread
			r, _ := http.NewRequest("POST", url+"/push/alice", strings.NewReader(fmt.Sprint("m", i)))
			r.Header = try.Bearer("secret")
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				return
			}
			answer.Body.Close()
			status = answer.StatusCode
		}
	}
}

// badNetwork returns the address of a proxy that cuts each connection within 50 ms of its
// handshake, for half a minute: a slow machine may hardly get on meanwhile. It does not cut
// before, for the WebSocket of Node.js 20 tells nobody then.
func badNetwork(t *testing.T, to string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	better := time.Now().Add(30 * time.Second)
	go func() {
		for life := 20 * time.Millisecond; ; life = 20*time.Millisecond + life*7%(30*time.Millisecond) {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				return
			}
			go io.Copy(far, near)
			go func() {
				first := make([]byte, 4<<10)
				n, _ := far.Read(first) // the server's answer to the handshake
				near.Write(first[:n])
				if time.Now().Before(better) {
					time.AfterFunc(life, func() { far.Close(); near.Close() })
				}
				io.Copy(near, far)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr")
}
