package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

// counts returns the figures of the last line of the output.
func counts(t *testing.T, p *try.Process) (accepted, written, reported int) {
	t.Helper()
	line := p.Line()
	if _, err := fmt.Sscanf(line, "deploy: %d accepted, %d written, %d reported", &accepted, &written, &reported); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return accepted, written, reported
}

func TestReadinessGoesFirstAndGoodbyesComeLast(t *testing.T) {
	t.Parallel()
	p := try.Start(t, []string{"-addr", "127.0.0.1:0", "-drain", "6s"}) // for all of this, on a busy machine
	url := p.Addr()
	alice := try.Dial(t, url+"/ws", "demo-alice")
	alice.Next()
	if status, _ := try.Do(t, "GET", url+"/ready", nil, ""); status != 200 {
		t.Errorf("ready before: %d", status)
	}
	p.Signal()
	if got := p.Line(); got != "deploy: no longer ready" {
		t.Errorf("output is %q", got)
	}
	if status, _ := try.Do(t, "GET", url+"/ready", nil, ""); status != 503 {
		t.Errorf("ready while it drains: %d", status)
	}
	// It serves on: who is connected, and who comes before the load balancer knows.
	bob, gone := try.Dial(t, url+"/ws", "demo-bob"), make(chan struct{})
	go func() {
		defer close(gone)
		bob.GoesAway()
	}()
	draining := time.Now()
	for {
		at, err := time.Parse(time.RFC3339Nano, alice.Next())
		if err != nil {
			t.Fatal(err)
		}
		if at.After(draining) {
			break
		}
	}
	alice.GoesAway()
	accepted, written, reported := counts(t, p)
	if accepted == 0 || accepted != written+reported {
		t.Errorf("%d accepted, %d written, %d reported", accepted, written, reported)
	}
	if code := p.ExitCode(); code != 0 {
		t.Errorf("exit code %d, stderr %q", code, p.Stderr())
	}
	<-gone
}

func TestPeerThatDoesNotReadIsNotWaitedForLongerThanTheGrace(t *testing.T) {
	t.Parallel()
	p := try.Start(t, []string{"-addr", "127.0.0.1:0", "-drain", "1ms", "-grace", "500ms"})
	try.Dial(t, p.Addr()+"/ws", "demo-alice").Next() // and reads no more
	p.Signal()
	began := time.Now()
	p.Line() // not ready
	counts(t, p)
	if got := p.Line(); got != "deploy: some clients have not closed in time" {
		t.Errorf("output is %q", got)
	}
	if code := p.ExitCode(); code != 0 {
		t.Errorf("exit code %d, stderr %q", code, p.Stderr())
	}
	if took := time.Since(began); took > 8*time.Second { // it waits for a write for ten
		t.Errorf("it took %v", took)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr")
}
