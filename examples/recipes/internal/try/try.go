// Package try runs a recipe as its reader would: as a process of its own, over
// real connections, until a signal ends it.
package try

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 20 * time.Second // how long a test waits for something that should come at once
	isRecipe = "GCPOOL_RECIPE"
)

// Main is for TestMain: the test's binary is also the recipe.
func Main(m *testing.M, main func()) {
	if os.Getenv(isRecipe) == "" {
		os.Exit(m.Run())
	}
	main()
}

// A Process is a recipe that runs.
type Process struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // of its output
	stderr bytes.Buffer
	ended  chan struct{}
}

// Start runs the recipe with args, and variables like "NAME=value".
func Start(t *testing.T, args []string, env ...string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: exec.Command(os.Args[0], args...), lines: make(chan string, 100), ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), isRecipe+"=1"), env...)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stdout)
	t.Cleanup(func() {
		p.cmd.Process.Kill() // no-op if it has ended
		<-p.ended
		if t.Failed() {
			t.Logf("stderr: %s", &p.stderr)
		}
	})
	return p
}

// read hands over the lines of the output, and then waits for the end.
func (p *Process) read(stdout io.Reader) {
	defer close(p.ended)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		p.lines <- lines.Text()
	}
	close(p.lines)
	p.cmd.Wait()
}

// Line returns the next line of the output.
func (p *Process) Line() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatal("the recipe has ended")
		}
		return line
	case <-time.After(patience):
		p.t.Fatal("no line of output")
	}
	return ""
}

// Addr returns the last word of the next line, in which the recipe says where it listens.
func (p *Process) Addr() string {
	p.t.Helper()
	words := strings.Fields(p.Line())
	return words[len(words)-1]
}

// Signal ends the recipe with SIGTERM, as the system would.
func (p *Process) Signal() {
	p.t.Helper()
	if runtime.GOOS == "windows" {
		p.t.Skip("no SIGTERM here")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// ExitCode waits for the end.
func (p *Process) ExitCode() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("the recipe does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// Stderr returns the recipe's standard error, without the lines about the Origin that it refused in
// Refused. It is valid after ExitCode.
func (p *Process) Stderr() string {
	var rest strings.Builder
	for line := range strings.Lines(p.stderr.String()) {
		if !strings.Contains(line, "gcpool: origin refused") || !strings.Contains(line, evil) {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// AddressInUse checks that the recipe prints one clear line and exits with code 1 if an address is
// in use, for each flag that takes an address.
func AddressInUse(t *testing.T, flags ...string) {
	t.Helper()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, flag := range flags {
		args := []string{flag, taken.Addr().String()}
		for _, other := range flags {
			if other != flag {
				args = append(args, other, "127.0.0.1:0")
			}
		}
		p := Start(t, args)
		if code := p.ExitCode(); code != 1 {
			t.Errorf("%s in use: exit code %d", flag, code)
		}
		text := p.Stderr()
		if strings.Count(text, "\n") != 1 || !strings.Contains(text, taken.Addr().String()) {
			t.Errorf("%s in use: stderr is %q", flag, text)
		}
	}
}
