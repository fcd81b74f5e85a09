package suite

import (
	"errors"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/client"
	"github.com/nulijiabei/gcpool/bench/internal/peers"
	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// session is one peer with its clients connected: two processes.
type session struct {
	spec           peers.Spec
	users          int
	stall          int // with n, every nth user stops reading when told to
	at             server.Started
	server, client *child
}

// start starts a session without users. procs is the server's GOMAXPROCS; 0 means the
// default. The server's environment also gets env.
func start(spec peers.Spec, procs int, env ...string) (s *session, err error) {
	s = &session{spec: spec}
	if s.server, err = spawn(serverRole, procs, env...); err != nil {
		return nil, err
	}
	if s.client, err = spawn(clientRole, 0); err == nil {
		err = s.server.call("Start", spec.Name, &s.at)
	}
	if err != nil {
		s.end()
	}
	return s, err
}

// connect connects the users. With stall n, every nth user will stop reading when told to.
func (s *session) connect(users, stall int) error {
	s.users, s.stall = users, stall
	to := client.Connect{Addr: s.at.Addr, Conns: users, Dialect: s.spec.Dialect, Stall: stall}
	if err := s.client.call("Connect", to, nothing); err != nil {
		return err
	}
	return s.server.call("Await", users, nothing)
}

// nothing is a reply without content.
var nothing = new(struct{})

// end ends the session. A nil session has already ended.
func (s *session) end() {
	if s == nil {
		return
	}
	s.client.end()
	s.server.end()
}

// outcome is the result of a load.
type outcome struct {
	pushed  server.Pushed
	arrived client.Result
	cpu     int64 // nanoseconds of the server process
}

// seconds is the time until the last message was read.
func (o outcome) seconds() float64 { return float64(o.arrived.Last-o.pushed.Start) / 1e9 }

// rate is the number of messages a second until the last was read.
func (o outcome) rate() float64 { return float64(o.arrived.Count) / o.seconds() }

// cost is the CPU time of a message in nanoseconds.
func (o outcome) cost() float64 { return float64(o.cpu) / float64(max(1, o.arrived.Count)) }

// load runs a load and waits for all of its messages.
func (s *session) load(l server.Load) (o outcome, err error) {
	l.Users, l.Patience = s.users, 20*time.Second
	return s.measure("Push", l)
}

// broadcast sends one message to everyone and waits until the last has it.
func (s *session) broadcast(size int) (o outcome, err error) {
	return s.measure("Broadcast", server.Load{Users: s.users, Size: size})
}

func (s *session) measure(method string, l server.Load) (o outcome, err error) {
	saturated := method == "Push" && l.Rate == 0
	p := client.Prepare{Size: l.Size, Latency: l.Rate > 0, Rest: saturated}
	if err = s.client.call("Prepare", p, nothing); err != nil {
		return o, err
	}
	if err = s.server.call(method, l, &o.pushed); err != nil {
		return o, s.why(err)
	}
	if o.pushed.Hung {
		return o, s.why(errors.New("a Push has not returned"))
	}
	if err = s.client.call("Finish", client.Finish{Total: o.pushed.Count, Patience: 10 * time.Second}, &o.arrived); err != nil {
		return o, err
	}
	var used server.Usage
	if err = s.server.call("Measure", *nothing, &used); err != nil {
		return o, err
	}
	o.cpu = used.CPU - o.pushed.CPU
	if o.arrived.Fault != "" {
		err = errors.New(o.arrived.Fault)
	}
	return o, err
}

// why returns the fault that the clients have found, or else err.
func (s *session) why(err error) error {
	var r client.Result
	if s.client.call("Finish", client.Finish{AtOnce: true}, &r) == nil && r.Fault != "" {
		return errors.New(r.Fault)
	}
	return err
}
