package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestMalformed: malformed messages on the bus are dropped, counted
// and logged, on every subject, and do no harm.
func TestMalformed(t *testing.T) {
	s := serve(t, nil)
	var log safeBuffer
	a := joinAs(t, s.ClientURL(), []Option{WithLogger(slog.New(slog.NewTextHandler(&log, nil)))})
	b := join(t, s.ClientURL())
	u := a.dial("alice")
	a.known("alice", b)
	bus := connect(t, s.ClientURL())
	node := strings.Repeat("x", 22)
	named := appendString(nil, node)
	long := append(bytes.Clone(named), push, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)
	subjects := []string{
		a.subjectOf(key{name, "alice"}), a.subject("d", a.id), a.subject("r", a.id, "0"), a.subject("r", a.id, "x"),
		a.subject("s"), a.subject("s", a.id), a.subject("b"),
	}
	r := rand.New(rand.NewPCG(1, 2))
	sent := uint64(0)
	for _, subject := range subjects {
		payloads := [][]byte{nil, {0xff}, long, append(bytes.Clone(named), 'z', 'z'), []byte(strings.Repeat("\xff", 1000))}
		for range 200 {
			b := make([]byte, r.IntN(100))
			for i := range b {
				b[i] = byte(r.IntN(256)) >> r.IntN(8)
			}
			payloads = append(payloads, b, append(bytes.Clone(named), b...), append(append(bytes.Clone(named), joined), b...))
		}
		for _, p := range payloads {
			bus.PublishMsg(&nats.Msg{Subject: subject, Reply: "anywhere", Data: p})
			sent++
		}
		bus.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{"Status": {"wrong"}}})
	}
	eventually(t, "most are counted", func() bool { return a.Stats().Malformed > sent/2 })
	if err := a.Err(); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("Err is %v", err)
	}
	eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "malformed") })
	eventually(t, "all is handled", func() bool { return len(a.in)+len(a.control) == 0 })
	for i := range 100 {
		if err := b.stream.Deliver(t.Context(), "alice", []byte{byte('0' + i%10)}); err != nil {
			t.Fatal(err)
		}
		if got := u.read(); got != string(byte('0'+i%10)) {
			t.Fatalf("received %q", got)
		}
	}
}

// TestVersionFromTheFuture: a version so high that no clock can show it is refused, because no
// later version could exceed it.
func TestVersionFromTheFuture(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	version := g.version(g.all, "alice")
	g.takes("alice", ahead(0)+2*farFuture)
	eventually(t, "refused", func() bool { return a.Stats().Malformed == 1 })
	g.takes("alice", version-1)
	if told := g.version(g.hears, "alice"); told != version {
		t.Errorf("alice has version %d; before, she had %d", told, version)
	}
}

// TestIDs: no character in an id, and no length of it, has a meaning for NATS.
func TestIDs(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	ids := []string{"a.b", "*", ">", "a b", "\r\nPUB x 0\r\n", "\x00\xff", "é", "=", strings.Repeat("long", 1000),
		strings.Repeat("long", 1000) + "er", "_INBOX.x", "$SYS"}
	for _, id := range ids {
		conn := newPipe(t, b, id)
		b.known(id, a)
		if err := a.stream.Deliver(t.Context(), id, []byte(id)); err != nil {
			t.Errorf("%.20q: %v", id, err)
		}
		if got := <-conn; got != id+"\n" {
			t.Errorf("received %.20q, want %.20q", got, id)
		}
	}
	tokens := map[string]string{}
	for _, id := range append(ids, "", "a", "A", "aa") {
		token := token(id)
		if tokens[token] != "" || strings.ContainsAny(token, " .*>\r\n\t") || token == "" || len(token) > 100 {
			t.Errorf("token of %.20q is %q", id, token)
		}
		tokens[token] = id + "!"
	}
}

// TestPermissions: the permissions listed in the README are enough. If one is missing, Join
// returns an error and leaves no node behind.
func TestPermissions(t *testing.T) {
	type rights struct{ publish, subscribe []string } // the rights that are denied
	rows := map[string]rights{"node": {}}
	for _, kind := range []string{"m", "d", "r", "s", "b", "p"} {
		all := []string{"gcpool." + kind, "gcpool." + kind + ".>"}
		rows["publish-"+kind] = rights{publish: all}
		rows["subscribe-"+kind] = rights{subscribe: all}
	}
	s := serve(t, func(o *server.Options) {
		for user, row := range rows {
			o.Users = append(o.Users, &server.User{Username: user, Password: "x", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"gcpool.>"}, Deny: row.publish},
				Subscribe: &server.SubjectPermission{Allow: []string{"gcpool.>"}, Deny: row.subscribe},
			}})
		}
	})
	as := func(user string) string {
		u, _ := url.Parse(s.ClientURL())
		u.User = url.UserPassword(user, "x")
		return u.String()
	}
	a, b := join(t, as("node")), join(t, as("node"))
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	for user := range rows {
		if user == "node" {
			continue
		}
		if _, err := Join(gcpool.NewPool(), connect(t, as(user), quiet)); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: Join: %v", user, err)
		}
	}
	u := a.dial("alice")
	a.known("alice", b)
	if err := b.stream.Deliver(t.Context(), "alice", []byte("y")); err != nil || u.read() != "y" {
		t.Errorf("Deliver: %v", err)
	}
	if a.Err() != nil || a.Stats().Malformed > 0 {
		t.Errorf("the permissions listed in the README are not enough: %v", a.Err())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if nodes := a.everybodyLocked(); len(nodes) != 2 {
		t.Errorf("%d nodes may have a push", len(nodes))
	}
}

// TestHandlerIsPassedOn: the application's own error handler still gets every error.
func TestHandlerIsPassedOn(t *testing.T) {
	s := serve(t, nil)
	heard := make(chan error, 100)
	nc := connect(t, s.ClientURL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { heard <- err }))
	pool := gcpool.NewPool()
	n, err := Join(pool, nc, WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	trouble := errors.New("trouble")
	nc.ErrorHandler()(nc, nil, trouble)
	if err := <-heard; err != trouble || n.Err() != trouble {
		t.Errorf("heard %v, Err is %v", err, n.Err())
	}
	nc.ErrorHandler()(nc, n.subs[0], trouble)
	if err := n.Err(); <-heard != trouble || !errors.Is(err, trouble) || !strings.Contains(err.Error(), n.subs[0].Subject) {
		t.Errorf("Err is %v, without the subject", err)
	}
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
}

// safeBuffer is a bytes.Buffer that is safe for a logger.
type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// panicky is a logger that panics, and records that it did.
type panicky struct {
	slog.Handler
	called chan struct{}
}

func (p panicky) Handle(context.Context, slog.Record) error {
	close(p.called)
	panic("logger")
}

// TestLoggerThatPanics: a panic in the logger does no harm.
func TestLoggerThatPanics(t *testing.T) {
	s := serve(t, nil)
	logger := panicky{slog.NewTextHandler(io.Discard, nil), make(chan struct{})}
	a := joinAs(t, s.ClientURL(), []Option{WithLogger(slog.New(logger))})
	b := join(t, s.ClientURL())
	u := a.dial("alice")
	a.known("alice", b)
	b.nc.Publish(a.subject("d", a.id), []byte("what?"))
	<-logger.called
	if err := b.stream.Deliver(t.Context(), "alice", []byte("x")); err != nil || u.read() != "x" {
		t.Errorf("Deliver: %v", err)
	}
}

// TestTooFewSubscriptions: Join returns an error if NATS allows fewer
// subscriptions than a node itself needs.
func TestTooFewSubscriptions(t *testing.T) {
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	for most := 1; most <= 6; most++ {
		s := serve(t, func(o *server.Options) { o.MaxSubs = most })
		nc := connect(t, s.ClientURL(), quiet)
		for range 2 { // nats.go has one error value for this
			n, err := Join(gcpool.NewPool(), nc)
			if most < 6 && !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) || most == 6 && err != nil {
				t.Errorf("with %d: %v", most, err)
			}
			n.Leave(t.Context())
		}
	}
}

// TestRefusedReconnectIsNone: while NATS refuses the credentials, the
// log must not say that the node is connected again.
func TestRefusedReconnectIsNone(t *testing.T) {
	options := &server.Options{Host: "127.0.0.1", Port: freePort(t), NoSigs: true, NoLog: true}
	s := serve(t, func(o *server.Options) {
		options.Users = []*server.User{{Username: "a", Password: "x"}}
		*o = *options.Clone()
	})
	u, _ := url.Parse(s.ClientURL())
	u.User = url.UserPassword("a", "x")
	refused := make(chan bool, 1000)
	nc := connect(t, u.String(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrAuthorization) {
				refused <- true
			}
		}))
	lines := make(logged, 1000)
	n, err := Join(gcpool.NewPool(), nc, WithLogger(slog.New(lines)))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Leave(t.Context())
	password := func(p string) {
		options.Users = []*server.User{{Username: "a", Password: p}}
		if err := s.ReloadOptions(options.Clone()); err != nil {
			t.Fatal(err)
		}
	}
	password("y")
	for range 10 { // and a few of the node's ticks
		<-refused
		time.Sleep(tick)
	}
	password("x")
	for again := 0; again == 0; {
		if text := lines.next(t); text == "gcpool/cluster: connected to NATS again" {
			if again++; !nc.IsConnected() {
				t.Error("the node is not connected")
			}
		}
	}
}
