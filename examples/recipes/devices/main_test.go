package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

// A device is the other end.
type device struct {
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, addr, hello string) device {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintln(conn, hello)
	return device{conn, bufio.NewReader(conn)}
}

func start(t *testing.T) (p *try.Process, url, tcp string) {
	t.Helper()
	p = try.Start(t, []string{"-addr", "127.0.0.1:0", "-devices", "127.0.0.1:0"}, "SERVICE_KEY=secret")
	return p, p.Addr(), p.Addr()
}

func TestCommandsReachTheDeviceAsLines(t *testing.T) {
	t.Parallel()
	p, url, tcp := start(t)
	first := dial(t, tcp, "hello sensor-7 demo-key-7")
	fmt.Fprintln(first, "21.5 °C")
	if got := p.Line(); got != `devices: sensor-7 reports "21.5 °C"` {
		t.Errorf("output is %q", got)
	}
	command := func(line string) int {
		status, _ := try.Do(t, "POST", url+"/devices/sensor-7", try.Bearer("secret"), line)
		return status
	}
	for i := range 100 {
		if status := command(fmt.Sprint("sleep ", i)); status != 200 {
			t.Fatalf("command %d: status %d", i, status)
		}
		if got, err := first.lines.ReadString('\n'); err != nil || got != fmt.Sprintf("sleep %d\n", i) {
			t.Fatalf("the device got %q, %v", got, err)
		}
	}
	for _, bad := range []string{"sleep 1\nformat", strings.Repeat("x", lineMax+1)} {
		if status := command(bad); status != 400 {
			t.Errorf("status %d for a bad command", status)
		}
	}
	second := dial(t, tcp, "hello sensor-7 demo-key-7") // a reconnect, before the old one is known to be dead
	if _, err := first.lines.ReadByte(); err == nil {
		t.Error("the old connection is still open")
	}
	if status := command("wake"); status != 200 {
		t.Errorf("status %d after a reconnect", status)
	}
	if got, err := second.lines.ReadString('\n'); err != nil || got != "wake\n" {
		t.Errorf("the device got %q, %v", got, err)
	}
	p.Signal()
	if _, err := second.lines.ReadByte(); err == nil {
		t.Error("the connection is still open")
	}
	if code := p.ExitCode(); code != 0 || p.Stderr() != "" {
		t.Errorf("exit code %d, stderr %q", code, p.Stderr())
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	_, url, tcp := start(t)
	for _, hello := range []string{"hello sensor-7 guess", "hello sensor-8 ", "hello sensor-8 x", "GET / HTTP/1.1",
		strings.Repeat("x", lineMax+1)} {
		d := dial(t, tcp, hello)
		if got, err := d.lines.ReadString('\n'); err == nil && got != "who are you?\n" {
			t.Errorf("to %.20q: %q", hello, got)
		}
		if _, err := d.lines.ReadByte(); err == nil {
			t.Errorf("after %.20q the connection is still open", hello)
		}
	}
	if status, _ := try.Do(t, "POST", url+"/devices/sensor-7", try.Bearer("secret"), "sleep 1"); status != 503 {
		t.Errorf("a command to a device that is away: status %d", status)
	}
	if status, _ := try.Do(t, "POST", url+"/devices/sensor-7", try.Bearer("guess"), "sleep 1"); status != 401 {
		t.Errorf("a command of a stranger: status %d", status)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr", "-devices")
}
