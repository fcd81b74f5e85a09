package closing

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestNode(t *testing.T) {
	need(t, "node", "../node_modules/ws")
	n := newNode(t)
	closeAll(t, n.open, round{few: 2})
}

func TestNodeUnderTLS(t *testing.T) {
	need(t, "node", "../node_modules/ws")
	n := newNode(t)
	closeAll(t, n.open, round{few: 1, tls: true, takes: notifies})
}

// A node is node.mjs running in a process of its own.
type node struct {
	in  io.Writer
	out *bufio.Reader
}

func newNode(t *testing.T) *node {
	t.Helper()
	command := exec.Command("node", "node.mjs")
	command.Env = append(os.Environ(), "NODE_TLS_REJECT_UNAUTHORIZED=0", "NODE_NO_WARNINGS=1")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // ends the process
		hurry := time.AfterFunc(patience, func() { command.Process.Kill() })
		defer hurry.Stop()
		if err := command.Wait(); err != nil {
			t.Errorf("node: %v\n%s", err, &stderr)
		}
	})
	return &node{in, bufio.NewReader(out)}
}

func (n *node) open(t *testing.T, url string, count int, sends bool) []ending {
	line, err := json.Marshal(map[string]any{"url": url, "n": count, "sends": sends})
	if err == nil {
		_, err = n.in.Write(append(line, '\n'))
	}
	var answer []byte
	if err == nil {
		answer, err = n.out.ReadBytes('\n')
	}
	var endings []ending
	if err == nil {
		err = json.Unmarshal(answer, &endings)
	}
	if err != nil {
		t.Errorf("node: %v", err)
	}
	return endings
}

// need skips the test unless the commands and files are there. If
// GCPOOL_REQUIRE_CLIENTS is 1, it fails instead.
func need(t *testing.T, command string, files ...string) {
	t.Helper()
	_, err := exec.LookPath(command)
	for _, name := range files {
		if err == nil {
			_, err = os.Stat(name)
		}
	}
	switch {
	case err == nil:
	case os.Getenv("GCPOOL_REQUIRE_CLIENTS") == "1":
		t.Fatalf("%v, and GCPOOL_REQUIRE_CLIENTS is 1; e2e/setup.sh installs it", err)
	default:
		t.Skipf("%v; e2e/setup.sh installs it", err)
	}
}
