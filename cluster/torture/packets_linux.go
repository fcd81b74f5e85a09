package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// farHost is another address of this machine. The packets to and from it are subject to faults.
const farHost = "127.0.0.2"

// inNamespace runs this program again, in a network namespace of its own, which has no packets of
// other programs. It needs root, and the tools ip and nft.
func inNamespace() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command("sh", append([]string{"-c", `ip link set lo up && exec "$0" "$@"`, self}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), namespaceEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// packets is the way of all packets to a port of farHost and back. The kernel drops some of them,
// and TCP sends these again.
type packets struct{ port int }

func (p packets) address() string { return fmt.Sprint(farHost, ":", p.port) }

func (p packets) during(d time.Duration, all ...condition) error {
	for i, c := range all {
		if err := p.set(c); err != nil {
			return err
		}
		if i == 0 {
			time.Sleep(d)
		}
	}
	return p.set(condition{})
}

// set replaces the nft rules of the way. It ignores c.delay, because nft cannot delay packets.
func (p packets) set(c condition) error {
	there := fmt.Sprintf("ip daddr %s tcp dport %d", farHost, p.port)
	back := fmt.Sprintf("ip saddr %s tcp sport %d", farHost, p.port)
	var rules []string
	for _, r := range []struct {
		match string
		way   direction
	}{{there, outward}, {back, inward}} {
		switch {
		case c.refused:
			rules = append(rules, r.match+" reject with tcp reset")
		case c.silent&r.way != 0:
			rules = append(rules, r.match+" drop")
		case c.loss > 0:
			rules = append(rules, fmt.Sprintf("%s numgen random mod 1000 < %d drop", r.match, int(1000*c.loss)))
		}
	}
	table := fmt.Sprint("way", p.port)
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("table ip %s {}\ndelete table ip %s\ntable ip %s {\nchain out {\n"+
		"type filter hook output priority 0;\n%s\n}\n}\n", table, table, table, strings.Join(rules, "\n")))
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("nft: %s", out), err)
	}
	return nil
}

func (p packets) end() { _ = p.set(condition{}) }
