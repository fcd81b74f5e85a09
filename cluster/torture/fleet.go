//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const nodes = 3

// A fleet is three NATS servers with a node at each. Faults break the routes of the last server,
// and the way from the last node to it, in proxies or in the kernel.
type fleet struct {
	dir     string
	servers [nodes]*process
	nodes   [nodes]*process
	routes  []way
	way     way
	verdict *verdict
	started int
	setup   setup
	ahead   [nodes]time.Duration // how far the clock of each node is ahead

	mu      sync.Mutex
	orders  string // commands for a node that starts later
	inputs  [nodes]io.Writer
	addrs   [nodes]string
	answers [nodes]chan string // to the commands of tell
}

// start builds nats-server and starts a fleet, which reports to v.
func start(s setup, v *verdict) (*fleet, error) {
	f := &fleet{verdict: v, setup: s}
	if err := f.begin(); err != nil {
		f.end()
		return nil, err
	}
	return f, nil
}

func (f *fleet) begin() (err error) {
	if f.dir, err = os.MkdirTemp("", "gcpool-torture"); err != nil {
		return err
	}
	daemon := filepath.Join(f.dir, "nats-server")
	if out, err := exec.Command("go", "build", "-o", daemon, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		return fmt.Errorf("go build nats-server: %w: %s", err, out)
	}
	ports, routePorts, err := freePorts()
	if err != nil {
		return err
	}
	for i := range nodes - 1 {
		w, err := newWay(routePorts[i])
		if err != nil {
			return err
		}
		f.routes = append(f.routes, w)
	}
	if f.way, err = newWay(ports[nodes-1]); err != nil {
		return err
	}
	for i := range nodes {
		config := filepath.Join(f.dir, fmt.Sprint(i, ".conf"))
		if err := os.WriteFile(config, f.config(i, ports, routePorts), 0o600); err != nil {
			return err
		}
		f.servers[i] = &process{begin: func() (*exec.Cmd, error) {
			cmd := exec.Command(daemon, "-c", config)
			return cmd, errors.Join(cmd.Start(), accepts(address(ports[i])))
		}}
		f.nodes[i] = &process{begin: func() (*exec.Cmd, error) { return f.node(i, ports) }}
	}
	for _, p := range append(f.servers[:], f.nodes[:]...) {
		if err := p.restart(0); err != nil {
			return err
		}
	}
	return nil
}

// config returns the configuration of server i. The last server connects to the other two, and the
// second to the first. No server advertises addresses, which would be ways around the proxies.
func (f *fleet) config(i int, ports, routePorts [nodes]int) []byte {
	var routes []string
	for j := range i {
		to := address(routePorts[j])
		if i == nodes-1 {
			to = f.routes[j].address()
		}
		routes = append(routes, "nats://"+to)
	}
	host := listenHost()
	return fmt.Appendf(nil, `
		listen: "%s:%d"
		server_name: "s%d"
		ping_interval: "2s"
		cluster { name: c, listen: "%s:%d", no_advertise: true, pool_size: -1, routes: [%s] }
		%s
	`, host, ports[i], i, host, routePorts[i], strings.Join(routes, ", "), f.setup.server)
}

// node starts the process of a node.
func (f *fleet) node(i int, ports [nodes]int) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f.started++
	args := fmt.Sprintf("node%d.%d %s %v %v %v", i, f.started, f.urls(i, ports), f.setup.mailbox, f.setup.large, f.ahead[i])
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), nodeEnv+"="+args)
	cmd.Stderr = f.verdict
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
	ready, answers := make(chan string, 1), make(chan string, 100)
	go f.listen(out, ready, answers)
	select {
	case addr := <-ready:
		f.mu.Lock()
		f.inputs[i], f.addrs[i], f.answers[i] = in, addr, answers
		fmt.Fprintln(in, f.orders)
		f.mu.Unlock()
		return cmd, nil
	case <-time.After(20 * time.Second):
		return cmd, fmt.Errorf("node %d is not ready", i)
	}
}

// urls returns the servers for node i, its own first.
func (f *fleet) urls(i int, ports [nodes]int) string {
	var urls []string
	for j := range nodes {
		to := address(ports[(i+j)%nodes])
		if i == nodes-1 && j == 0 {
			to = f.way.address()
		}
		urls = append(urls, "nats://"+f.setup.login+to)
	}
	return strings.Join(urls, ",")
}

// listen handles the lines that a node writes, until the node ends.
func (f *fleet) listen(out io.Reader, ready, answers chan<- string) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "ready":
			ready <- rest
		case "undelivered":
			f.verdict.undelivered(rest)
		default:
			answers <- lines.Text()
		}
	}
}

// load makes all nodes push to users, including nodes that are started later.
func (f *fleet) load(users int) {
	orders := fmt.Sprint("users ", users, "\nload")
	f.mu.Lock()
	f.orders = orders
	f.mu.Unlock()
	f.tell(orders)
}

// tell sends a command to all nodes.
func (f *fleet) tell(command string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, in := range f.inputs {
		fmt.Fprintln(in, command)
	}
}

// ask sends a command to all nodes, and returns the numbers in their answers. They are nil for a
// node that has not answered after 5 s.
func (f *fleet) ask(command, answer string) (all [nodes][]int) {
	f.tell(command)
	timeout := time.After(5 * time.Second)
	for i := range nodes {
		f.mu.Lock()
		answers := f.answers[i]
		f.mu.Unlock()
		for all[i] == nil {
			select {
			case line := <-answers:
				words := strings.Fields(line)
				if words[0] != answer {
					continue
				}
				for _, word := range words[1:] {
					n, _ := strconv.Atoi(word)
					all[i] = append(all[i], n)
				}
			case <-timeout:
				return all
			}
		}
	}
	return all
}

// reached waits until a push from each node reaches each user.
func (f *fleet) reached(users int) error {
	var all [nodes][]int
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		f.tell(fmt.Sprint("users ", users))
		all = f.ask("reach", "reached")
		done := true
		for _, failures := range all {
			done = done && len(failures) == 1 && failures[0] == 0
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("users that each node does not reach: %v", all)
}

// settle waits until nothing waits at any node and each user has one connection.
func (f *fleet) settle(users int) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var conns [nodes]int
		sum, waiting := 0, 0
		for i, stats := range f.ask("stats", "stats") {
			if len(stats) != 2 {
				waiting++
				continue
			}
			conns[i] = stats[0]
			sum += stats[0]
			waiting += stats[1]
		}
		if waiting == 0 && sum == users {
			return
		}
		if time.Now().After(end) {
			f.verdict.breach("%d messages wait, and %d users have connections %v", waiting, users, conns)
			return
		}
	}
}

// addr returns the address of a random listed node, as a balancer does, or "" if none is listed.
func (f *fleet) addr() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range rand.Perm(nodes) {
		if f.addrs[i] != "" {
			return f.addrs[i]
		}
	}
	return ""
}

// unlist keeps users from connecting to a node until it is started again.
func (f *fleet) unlist(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addrs[i] = ""
}

func (f *fleet) end() {
	for i := range nodes {
		for _, p := range []*process{f.nodes[i], f.servers[i]} {
			if p != nil {
				p.kill()
			}
		}
	}
	for _, w := range append(f.routes, f.way) {
		if w != nil {
			w.end()
		}
	}
	_ = os.RemoveAll(f.dir)
}
