//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// patience is the longest time that a run may take.
const patience = 2 * time.Minute

// A spawner starts a process of this program: on this host, or at one end of the line.
type spawner func(role string, l load) (*child, error)

// A child is a process that a spawner started. It ends when its standard input ends.
type child struct {
	cmd *exec.Cmd
	in  io.Closer
	out *json.Decoder
}

func spawn(role string, l load) (*child, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, role, string(text))}
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.out = in, json.NewDecoder(bufio.NewReader(out))
	return c, c.cmd.Start()
}

// until plays a role in a child until its standard input ends. That happens when the parent
// closes it, or ends.
func until(role func(load) error, text string) error {
	var l load
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	played := make(chan error, 1)
	go func() { played <- role(l) }()
	select {
	case err := <-ended:
		return err
	case err := <-played:
		if err != nil {
			return err
		}
		return <-ended
	}
}

func (c *child) end() error {
	c.in.Close()
	return c.cmd.Wait()
}

// run starts a server and a peer for l, and ends them.
func run(l load, here, there spawner) (r result, err error) {
	server, err := here("server", l)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, server.end()) }()
	stop := time.AfterFunc(patience, func() { server.cmd.Process.Kill() })
	defer stop.Stop()
	if err := server.out.Decode(&l.Addr); err != nil {
		return r, fmt.Errorf("server: %w", err)
	}
	peer, err := there("peer", l)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, peer.end()) }() // it ends when the server has
	var s served
	var last int64
	if err := server.out.Decode(&s); err != nil {
		return r, fmt.Errorf("server: %w", err)
	}
	if err := peer.out.Decode(&last); err != nil {
		return r, fmt.Errorf("peer: %w", err)
	}
	mb := float64(l.Users*l.Each*l.Size) / 1e6
	seconds := float64(last-s.Began) / 1e9
	return result{
		MBs:      mb / seconds,
		Writes:   float64(s.Writes) / seconds,
		Switches: float64(s.Switches) / seconds,
		CPU:      float64(s.CPU) / 1e6 / mb,
	}, nil
}
