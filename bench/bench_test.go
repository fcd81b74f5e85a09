package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/client"
	"github.com/nulijiabei/gcpool/bench/internal/payload"
	"github.com/nulijiabei/gcpool/bench/internal/peers"
	"github.com/nulijiabei/gcpool/bench/internal/server"
	"github.com/nulijiabei/gcpool/bench/internal/suite"
)

func TestMain(m *testing.M) {
	if suite.Child(os.Args) {
		return
	}
	os.Exit(m.Run())
}

const users = 20

// fan pushes messages through a peer that loses some to clients in this process, and returns
// what they found.
func fan(t *testing.T, name string, lost int, wrap func(peers.Peer) peers.Peer) (server.Pushed, client.Result) {
	t.Helper()
	spec, err := peers.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	s, k := &server.Server{Wrap: wrap}, new(client.Client)
	t.Cleanup(s.Close)
	t.Cleanup(k.Close)
	var at server.Started
	var pushed server.Pushed
	var result client.Result
	load := server.Load{Users: users, Size: 64, Burst: 2, Producers: 2, Passes: 20, Window: 20 * time.Second, Patience: time.Second}
	for _, step := range []func() error{
		func() error { return s.Start(spec.Name, &at) },
		func() error {
			return k.Connect(client.Connect{Addr: at.Addr, Conns: users, Dialect: spec.Dialect}, nil)
		},
		func() error { return s.Await(users, nil) },
		func() error { return k.Prepare(client.Prepare{Size: load.Size}, nil) },
		func() error { return s.Push(load, &pushed) },
		func() error { return arrived(k, pushed.Count-lost) },
		func() error {
			return k.Finish(client.Finish{Total: pushed.Count, Patience: 200 * time.Millisecond}, &result)
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return pushed, result
}

// arrived waits until so many messages have arrived or a fault has been found, for as long as a
// busy machine may take.
func arrived(k *client.Client, messages int) error {
	var result client.Result
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		err := k.Finish(client.Finish{AtOnce: true}, &result)
		if err != nil || result.Count >= messages || result.Fault != "" {
			return err
		}
	}
	return nil // Finish tells how many are missing
}

func TestEachPeerDeliversAllInOrder(t *testing.T) {
	for _, spec := range peers.All() {
		t.Run(spec.Name, func(t *testing.T) {
			t.Parallel()
			pushed, result := fan(t, spec.Name, 0, nil)
			if result.Fault != "" {
				t.Errorf("fault: %s", result.Fault)
			}
			if want := users * 2 * 20; pushed.Count != want || result.Count != want {
				t.Errorf("pushed %d and received %d of %d messages", pushed.Count, result.Count, want)
			}
		})
	}
}

// held is the message that the fault "reordered" delays.
var held []byte

// broken is a peer that does one thing wrong, to the messages of user 7.
type broken struct {
	peers.Peer
	wrong func(to peers.Peer, n int, payload []byte) error
	n     int
}

func (b *broken) Push(user int, p []byte) error {
	if user != 7 {
		return b.Peer.Push(user, p)
	}
	b.n++
	return b.wrong(b.Peer, b.n, p)
}

// faults are the faults of a peer, and the errors that the clients must report.
var faults = map[string]struct {
	wrong func(to peers.Peer, n int, payload []byte) error
	fault string
	lost  int // messages that do not arrive
}{
	"dropped": {func(to peers.Peer, n int, p []byte) error {
		if n == 5 {
			return nil
		}
		return to.Push(7, p)
	}, "user 7: message 5 where 4 was due", 1},
	"dropped at the end": {func(to peers.Peer, n int, p []byte) error {
		if n == 40 {
			return nil
		}
		return to.Push(7, p)
	}, "799 of 800 messages arrived", 1},
	"doubled": {func(to peers.Peer, n int, p []byte) error {
		if n == 5 {
			_ = to.Push(7, p)
		}
		return to.Push(7, p)
	}, "user 7: message 4 where 5 was due", 0},
	"reordered": {func(to peers.Peer, n int, p []byte) error {
		if n == 5 {
			held = bytes.Clone(p)
			return nil
		}
		err := to.Push(7, p)
		if n == 6 && err == nil {
			err = to.Push(7, held)
		}
		return err
	}, "user 7: message 5 where 4 was due", 0},
	"another user's": {func(to peers.Peer, n int, p []byte) error { return to.Push(8, p) },
		"user 8: a message for user 7", 0},
	"corrupted": {func(to peers.Peer, n int, p []byte) error {
		p[payload.Header+n] ^= 1
		defer func() { p[payload.Header+n] ^= 1 }()
		return to.Push(7, p)
	}, "user 7: message 0 is not the bytes that were sent", 0},
	"cut short": {func(to peers.Peer, n int, p []byte) error { return to.Push(7, p[:60]) },
		"user 7: a payload of 60 bytes, not 64", 0},
}

func TestClientsFindWhatAPeerDoesWrong(t *testing.T) {
	for name, test := range faults {
		t.Run(name, func(t *testing.T) {
			_, result := fan(t, "xnet", test.lost, func(p peers.Peer) peers.Peer { return &broken{Peer: p, wrong: test.wrong} })
			if !strings.Contains(result.Fault, test.fault) {
				t.Errorf("fault %q, want %q", result.Fault, test.fault)
			}
		})
	}
}

func TestScenariosRunInProcessesOfTheirOwn(t *testing.T) {
	all, err := choose(peers.All(), "gcpool,gws,gws+gcpool,centrifuge,write", func(s peers.Spec) string { return s.Name })
	if err != nil {
		t.Fatal(err)
	}
	b := &suite.Bench{Peers: all, Rounds: 2, Window: 20 * time.Millisecond, Quick: true, Log: t.Logf}
	scenarios, err := choose(suite.Scenarios(), "fanout,burst,broadcast,latency,idle", func(s suite.Scenario) string { return s.Name })
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		r, err := b.Run(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Metrics {
			for _, row := range m.Rows {
				if row.Failed != "" || len(row.Values) != 2 || row.Median <= 0 {
					t.Errorf("%s: %s of %s: %v %s", s.Name, m.Name, row.Name, row.Values, row.Failed)
				}
			}
		}
		if len(r.Verdicts) == 0 {
			t.Errorf("%s has no verdict", s.Name)
		}
	}
}
