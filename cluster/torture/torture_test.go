//go:build unix

package main

import (
	"flag"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(nodeEnv) != "" { // a test has started this process as a node
		runNode()
		return
	}
	flag.Parse()
	flag.Set("test.parallel", "3") // three faults at once: their processes mostly wait
	os.Exit(m.Run())
}

// TestFaults: the promises hold with processes that are killed or stopped, and with routes that
// break. Afterwards each node must reach each user again.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	run := map[string]bool{
		"rolling-restart-mailbox": true, "node-killed": true, "node-stopped-2s": true,
		"server-killed": true, "route-reset-1s-mailbox": true, "clock-30s-route-cut-5s": true,
	}
	for _, f := range faults {
		if !run[f.name] {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			v, err := torture(f, 20*time.Second, 30, 0)
			if err != nil {
				t.Fatal(err)
			}
			if t.Log(v); len(v.breaches) > 0 || len(v.got) == 0 {
				t.Fail()
			}
		})
	}
}
