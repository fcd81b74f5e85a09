package delivery

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/report"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A bench is a recipient in a group without writers: the test makes each step.
type bench struct {
	*testing.T
	*Recipient
	writer schedule.Writer
}

func newBench(t *testing.T, c Config) *bench {
	c.Hooks, c.Outbox, c.WriteTimeout = report.Hooks{Buffer: 1000}, 1<<20, time.Minute
	g := NewGroup(c, func() []*Recipient { return nil }, func(*Recipient) {})
	return &bench{T: t, Recipient: NewRecipient(g, "a", nil)}
}

func (b *bench) attach() *Connection {
	return b.attachLink(NewConnection(&sleepy{}, false))
}

func (b *bench) attachLink(link *Connection) *Connection {
	if ok, err := b.Attach(link, owners.Caller{}); !ok || err != nil {
		b.Fatal(ok, err)
	}
	return b.cursor.conn
}

func (b *bench) push(data string) {
	if _, err := b.Push(b.Context(), &outbox.Message{ID: "a", Data: []byte(data)}); err != nil {
		b.Fatal(err)
	}
}

// take begins the next write, as a writer does.
func (b *bench) take() *flight {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.cursor.due() {
		b.Fatal("nothing is to be written")
	}
	return b.cursor.take(&b.writer)
}

// whole lands a write that the connection has taken.
func (b *bench) whole(f *flight) { f.land(len(f.chunk.Frames()), nil) }

func (b *bench) remove(reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removeLocked(reason, transport.StatusNormal)
}

func (b *bench) stall() {
	b.attach()
	b.push("1")
	b.take()
	b.cursor.Stalled(&b.writer)
}

// goOn has a writer replaced that is stuck in b's first message, and go on with the second.
func goOn(b *bench) {
	conn := &gate{free: make(chan bool)}
	b.Cleanup(func() { close(conn.free) })
	b.attachLink(NewConnection(conn, false))
	b.group.Begin()
	is := func(what string, ok func() bool) {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			b.mu.Lock()
			now := ok()
			b.mu.Unlock()
			if now {
				return
			} else if time.Now().After(end) {
				b.Fatal("never: " + what)
			}
		}
	}
	is("the write stalls", func() bool { return b.cursor.turn == stalled })
	b.push("2")
	conn.free <- true
	is("the second write is under way", func() bool { return b.cursor.flight != nil && !b.log.Waits() })
}

// rows returns the transitions in the comment above a type.
func rows(t *testing.T, name string) (all []string) {
	source, err := os.ReadFile("states.go")
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`(?s)// ` + name + ` is .*?\ntype ` + name).FindString(string(source))
	for _, row := range regexp.MustCompile(`(?m)^//\t(\w+) *-> (\w+)`).FindAllStringSubmatch(comment, -1) {
		all = append(all, row[1]+" -> "+row[2])
	}
	if len(all) == 0 {
		t.Fatalf("states.go has no table for %s", name)
	}
	return all
}

// TestTurns walks the table of turns. Each step begins where its name says.
func TestTurns(t *testing.T) {
	names := map[string]turn{"idle": idle, "queued": queued, "writing": writing, "stalled": stalled}
	steps := map[string]struct{ prepare, step func(b *bench) }{
		"idle -> queued":     {func(b *bench) { b.attach() }, func(b *bench) { b.push("1") }},
		"idle -> writing":    {func(b *bench) { b.attach() }, func(b *bench) { b.log.Append(&outbox.Message{Data: []byte("1")}, false); b.take() }},
		"queued -> writing":  {func(b *bench) { b.attach(); b.push("1") }, func(b *bench) { b.take() }},
		"queued -> stalled":  {func(b *bench) { b.attach(); b.push("1") }, goOn},
		"queued -> idle":     {func(b *bench) { b.attach(); b.push("1"); b.remove(outcome.ErrDeleted); b.attach() }, func(b *bench) { b.cursor.Serve(&b.writer) }},
		"writing -> stalled": {func(b *bench) { b.attach(); b.push("1"); b.take() }, func(b *bench) { b.cursor.Stalled(&b.writer) }},
		"writing -> queued":  {func(b *bench) { b.attach(); b.push("1"); b.take(); b.push("2") }, func(b *bench) { b.whole(b.cursor.flight) }},
		"writing -> idle":    {func(b *bench) { b.attach(); b.push("1"); b.take() }, func(b *bench) { b.whole(b.cursor.flight) }},
		"stalled -> queued":  {func(b *bench) { b.stall(); b.push("2") }, func(b *bench) { b.whole(b.cursor.flight) }},
		"stalled -> idle":    {func(b *bench) { b.stall() }, func(b *bench) { b.cursor.flight.land(0, outcome.Failure(errors.New("reset"))) }},
	}
	for _, row := range rows(t, "turn") {
		t.Run(row, func(t *testing.T) {
			var from, to string
			m := regexp.MustCompile(`\w+`).FindAllString(row, 2)
			from, to = m[0], m[1]
			s, ok := steps[row]
			if !ok {
				t.Fatal("no step for it")
			}
			delete(steps, row)
			b := newBench(t, Config{})
			if s.prepare(b); b.cursor.turn != names[from] {
				t.Fatalf("it begins at %d", b.cursor.turn)
			}
			if s.step(b); b.cursor.turn != names[to] {
				t.Errorf("it ends at %d", b.cursor.turn)
			}
		})
	}
	for row := range steps {
		t.Errorf("states.go has no row %q", row)
	}
}

// TestLives walks the table of lives, for a WebSocket.
func TestLives(t *testing.T) {
	names := map[string]life{"open": open, "goodbye": goodbye, "closing": closing, "closed": closed}
	busy := func(b *bench) { b.push("1"); b.take() }
	steps := map[string]struct{ prepare, step func(b *bench) }{
		"open -> goodbye":    {func(b *bench) {}, func(b *bench) { b.leave(false, false) }},
		"open -> closing":    {busy, func(b *bench) { b.remove(outcome.ErrDeleted) }},
		"goodbye -> closing": {func(b *bench) { b.leave(false, false); b.take() }, func(b *bench) { b.remove(outcome.ErrClosed) }},
		"closing -> closed":  {func(b *bench) { busy(b); b.remove(outcome.ErrDeleted) }, func(b *bench) { b.whole(b.cursor.flight) }},
	}
	for _, row := range rows(t, "life") {
		t.Run(row, func(t *testing.T) {
			m := regexp.MustCompile(`\w+`).FindAllString(row, 2)
			s, ok := steps[row]
			if !ok {
				t.Fatal("no step for it")
			}
			delete(steps, row)
			b := newBench(t, Config{})
			link, _, _ := upgraded(t)
			conn := b.attachLink(link)
			if s.prepare(b); conn.life != names[m[0]] {
				t.Fatalf("it begins at %d", conn.life)
			}
			if s.step(b); conn.life != names[m[1]] {
				t.Errorf("it ends at %d", conn.life)
			}
		})
	}
	for row := range steps {
		t.Errorf("states.go has no row %q", row)
	}
}

// TestGraces: how long a write may go on after its connection was removed or replaced.
func TestGraces(t *testing.T) {
	link, _, _ := upgraded(t)
	webSocket, raw := link, NewConnection(&sleepy{}, false)
	for name, test := range map[string]struct {
		link   *Connection
		status transport.Status
		next   bool // a newer connection waits
		over   bool // Shutdown has begun
		want   time.Duration
	}{
		"removed":                {webSocket, transport.StatusNormal, false, false, closeGrace},
		"replaced":               {webSocket, transport.StatusReplaced, true, false, takeoverGrace},
		"removed, in Shutdown":   {webSocket, transport.StatusGoingAway, false, true, takeoverGrace},
		"a raw one, removed":     {raw, transport.StatusNormal, false, false, takeoverGrace},
		"a raw one, replaced":    {raw, transport.StatusReplaced, true, false, takeoverGrace},
		"too slow":               {webSocket, transport.Status{}, false, false, 0},
		"too slow, and replaced": {webSocket, transport.Status{}, true, false, 0},
	} {
		b := newBench(t, Config{})
		b.group.closed.Store(test.over)
		conn := test.link
		conn.ending = &ending{status: test.status}
		if test.next {
			b.cursor.conn = new(Connection)
		}
		if got := b.cursor.grace(conn); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestWhatABatchKeeps: a message stays that was certainly not delivered, with all behind it,
// if it has a place to wait.
func TestWhatABatchKeeps(t *testing.T) {
	nobody, moved, other := outcome.ErrNotConnected, outcome.ErrMoved, errors.New("lost")
	for name, test := range map[string]struct {
		errs          []error
		late          int
		place, remote bool
		want          int
	}{
		"all delivered":                 {[]error{nil, nil}, 0, true, true, 2},
		"nobody has the id":             {[]error{nobody, nobody}, 0, true, true, 0},
		"nobody, and no place to wait":  {[]error{nobody, nobody}, 0, false, true, 2},
		"the id has moved":              {[]error{nil, moved, moved}, 0, false, true, 1},
		"the remote has gone meanwhile": {[]error{moved}, 0, false, false, 1},
		"behind one that was delivered": {[]error{nobody, nil, nobody}, 0, true, true, 2},
		"behind one that may have been": {[]error{nobody, other}, 0, true, true, 2},
		"some have expired meanwhile":   {[]error{nobody, nobody, nobody}, 2, true, true, 2},
	} {
		if got := keptFrom(test.errs, test.late, test.place, test.remote); got != test.want {
			t.Errorf("%s: from %d on, want %d", name, got, test.want)
		}
	}
}

// TestWhatACutMessageIsReportedWith: a message that may not be sent again.
func TestWhatACutMessageIsReportedWith(t *testing.T) {
	for reason, want := range map[error]error{
		nil:                outcome.ErrReplaced,
		outcome.ErrMoved:   outcome.ErrReplaced,
		outcome.ErrDeleted: outcome.ErrDeleted,
		outcome.ErrSlow:    outcome.ErrSlow,
		outcome.ErrClosed:  outcome.ErrClosed,
		outcome.ErrSilent:  outcome.ErrSilent,
	} {
		if got := cutFor(reason); got != want {
			t.Errorf("after %v: %v, want %v", reason, got, want)
		}
	}
}

// TestRemovalBehindAWrite: what waits when a connection is removed is reported when the write
// under way has ended, be that of messages or of a control frame.
func TestRemovalBehindAWrite(t *testing.T) {
	for name, begin := range map[string]func(b *bench){
		"of a message": func(b *bench) { b.push("first") },
		"of a ping":    func(b *bench) { b.cursor.say(frame.Ping, 0) },
	} {
		b := newBench(t, Config{})
		link, _, _ := upgraded(t)
		b.attachLink(link)
		begin(b)
		f := b.take()
		for range 3 { // each in a chunk of its own
			b.push(strings.Repeat("behind", outbox.Piece/8))
		}
		b.remove(outcome.ErrDeleted)
		if s := b.group.Stats(); s.Deleted != 0 {
			t.Errorf("behind a write %s: reported before that has ended", name)
		}
		n := 0
		if f.chunk != nil {
			n = len(f.chunk.Frames())
		}
		f.land(n, nil)
		if s := b.group.Stats(); s.Deleted != 3 || s.Waiting != 0 || !b.log.Empty() {
			t.Errorf("behind a write %s: %+v", name, s)
		}
	}
}
