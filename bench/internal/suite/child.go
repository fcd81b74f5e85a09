package suite

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/client"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// The roles of a child process. Its name in net/rpc is the same.
const (
	serverRole = "Server"
	clientRole = "Client"
)

// roleFlag is the first argument of a child process. The child runs the same program.
const roleFlag = "-role="

// Child runs the role that the program was started for, until the main process closes its
// pipe. It returns false if the program was started without a role.
func Child(args []string) bool {
	if len(args) < 2 {
		return false
	}
	role, ok := strings.CutPrefix(args[1], roleFlag)
	if !ok {
		return false
	}
	pipe := stdio{os.Stdin, os.Stdout}
	os.Stdout = os.Stderr // a peer's output must not end up in the pipe
	// Peers log as they do by default. The process formats these lines and drops them.
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if role == serverRole {
		defer profile()()
		serve(role, new(server.Server), pipe)
	} else {
		serve(role, new(client.Client), pipe)
	}
	return true
}

// ProfilesIn names the environment variable with the folder for CPU profiles of the server
// processes. If it is not set, they write none.
const ProfilesIn = "GCPOOL_BENCH_PROFILES"

// profile writes this process's CPU profile until the function that it returns is
// called.
func profile() (stop func()) {
	dir := os.Getenv(ProfilesIn)
	if dir == "" {
		return func() {}
	}
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("server-%d.pprof", os.Getpid())))
	if err == nil {
		err = pprof.StartCPUProfile(file)
	}
	if err != nil {
		panic(err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}
}

func serve(name string, methods any, pipe io.ReadWriteCloser) {
	s := rpc.NewServer()
	if err := s.RegisterName(name, methods); err != nil {
		panic(err)
	}
	s.ServeConn(pipe)
}

// stdio is a pipe of two halves.
type stdio struct {
	io.ReadCloser
	io.WriteCloser
}

func (s stdio) Close() error { return errors.Join(s.ReadCloser.Close(), s.WriteCloser.Close()) }

// child is the main process's view of a child.
type child struct {
	role string
	cmd  *exec.Cmd
	rpc  *rpc.Client
}

// spawn starts a child. procs is its GOMAXPROCS, where 0 means the default; env is added to its
// environment.
func spawn(role string, procs int, env ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, roleFlag+role)
	cmd.Stderr = os.Stderr
	if procs > 0 {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", procs))
	}
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{role, cmd, rpc.NewClient(stdio{out, in})}, nil
}

// patience is the limit for a call that sets no limit. Adding a million ids and deleting them
// takes more than a minute on a slow machine.
const patience = 5 * time.Minute

// call calls a method of the child.
func (c *child) call(method string, args, reply any) error {
	select {
	case call := <-c.rpc.Go(c.role+"."+method, args, reply, make(chan *rpc.Call, 1)).Done:
		return call.Error
	case <-time.After(patience):
		return fmt.Errorf("%s.%s has not returned within %v", c.role, method, patience)
	}
}

// end ends the child. The child saves nothing but its profile, and has a second to do so after
// its pipe has been closed.
func (c *child) end() {
	if c == nil {
		return
	}
	kill := func() { _ = c.cmd.Process.Kill() }
	if os.Getenv(ProfilesIn) == "" {
		kill()
	} else {
		defer time.AfterFunc(time.Second, kill).Stop()
	}
	_ = c.rpc.Close()
	_ = c.cmd.Wait()
}
