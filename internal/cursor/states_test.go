package cursor

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// A bench is an id whose line is not open, so the test makes each step.
type bench struct {
	*testing.T
	*id
	writer schedule.Writer
}

func newBench(t *testing.T, c backlog.Config) *bench {
	c.WriteTimeout = time.Minute
	return &bench{T: t, id: newID(shared(c))}
}

func (b *bench) attach() *Connection { return b.attachLink(NewConnection(&sleepy{}, false)) }

func (b *bench) attachLink(link *Connection) *Connection {
	if ok, err := b.Attach(link, 0); !ok || err != nil {
		b.Fatal(ok, err)
	}
	return b.conn
}

func (b *bench) stats() outcome.Stats { return b.Shared.Read() }

// take begins the next write, as a writer does.
func (b *bench) take() *flight {
	b.Lock()
	defer b.Unlock()
	if !b.due() {
		b.Fatal("nothing is to be written")
	}
	return begin(&b.Cursor, &b.writer)
}

// whole lands a write whose bytes the connection has all taken.
func (b *bench) whole(f *flight) { f.land(len(f.chunk.Frames()), nil) }

func (b *bench) remove(reason error) {
	b.Lock()
	defer b.Unlock()
	b.RemoveLocked(reason, frame.StatusNormal)
}

func (b *bench) stall() {
	b.attach()
	b.push("1")
	b.take()
	b.Stalled(&b.writer)
}

// goOn has a writer get stuck in b's first message and be replaced, then go on with the second.
func goOn(b *bench) {
	conn := &gate{free: make(chan bool)}
	b.Cleanup(func() { close(conn.free) })
	b.attachLink(NewConnection(conn, false))
	b.Shared.Line.Open(drain)
	is := func(what string, ok func() bool) {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			b.Lock()
			now := ok()
			b.Unlock()
			if now {
				return
			} else if time.Now().After(end) {
				b.Fatal("never: " + what)
			}
		}
	}
	is("the write stalls", func() bool { return b.turn == stalled })
	b.push("2")
	conn.free <- true
	is("the second write is under way", func() bool { return b.flight != nil && !b.Backlog.Log.Waits() })
}

// rows returns the transitions listed in the comment above a type.
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

// TestTurns walks the table of turns. Each step starts in the turn that begins its name.
func TestTurns(t *testing.T) {
	names := map[string]turn{"idle": idle, "queued": queued, "writing": writing, "stalled": stalled}
	steps := map[string]struct{ prepare, step func(b *bench) }{
		"idle -> queued":     {func(b *bench) { b.attach() }, func(b *bench) { b.push("1") }},
		"idle -> writing":    {func(b *bench) { b.attach() }, func(b *bench) { b.Accept(&outbox.Message{Data: []byte("1")}, false); b.take() }},
		"queued -> writing":  {func(b *bench) { b.attach(); b.push("1") }, func(b *bench) { b.take() }},
		"queued -> stalled":  {func(b *bench) { b.attach(); b.push("1") }, goOn},
		"queued -> idle":     {func(b *bench) { b.attach(); b.push("1"); b.remove(outcome.ErrDeleted); b.attach() }, func(b *bench) { b.Serve(&b.writer) }},
		"writing -> stalled": {func(b *bench) { b.attach(); b.push("1"); b.take() }, func(b *bench) { b.Stalled(&b.writer) }},
		"writing -> queued":  {func(b *bench) { b.attach(); b.push("1"); b.take(); b.push("2") }, func(b *bench) { b.whole(b.flight) }},
		"writing -> idle":    {func(b *bench) { b.attach(); b.push("1"); b.take() }, func(b *bench) { b.whole(b.flight) }},
		"stalled -> queued":  {func(b *bench) { b.stall(); b.push("2") }, func(b *bench) { b.whole(b.flight) }},
		"stalled -> idle":    {func(b *bench) { b.stall() }, func(b *bench) { b.flight.land(0, outcome.Failure(errors.New("reset"))) }},
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
			b := newBench(t, backlog.Config{})
			if s.prepare(b); b.turn != names[from] {
				t.Fatalf("it begins at %d", b.turn)
			}
			if s.step(b); b.turn != names[to] {
				t.Errorf("it ends at %d", b.turn)
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
		"open -> goodbye":    {func(b *bench) {}, func(b *bench) { b.Leave(false, false) }},
		"open -> closing":    {busy, func(b *bench) { b.remove(outcome.ErrDeleted) }},
		"goodbye -> closing": {func(b *bench) { b.Leave(false, false); b.take() }, func(b *bench) { b.remove(outcome.ErrClosed) }},
		"closing -> closed":  {func(b *bench) { busy(b); b.remove(outcome.ErrDeleted) }, func(b *bench) { b.whole(b.flight) }},
	}
	for _, row := range rows(t, "life") {
		t.Run(row, func(t *testing.T) {
			m := regexp.MustCompile(`\w+`).FindAllString(row, 2)
			s, ok := steps[row]
			if !ok {
				t.Fatal("no step for it")
			}
			delete(steps, row)
			b := newBench(t, backlog.Config{})
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

// TestRetireKeepsWhatIsInUse: each of these uses alone must keep a cursor from being retired.
func TestRetireKeepsWhatIsInUse(t *testing.T) {
	for what, use := range map[string]func(c *Cursor){
		"nothing":           func(*Cursor) {},
		"a connection":      func(c *Cursor) { c.conn = new(Connection) },
		"a write under way": func(c *Cursor) { c.flight = new(flight) },
		"a place in line":   func(c *Cursor) { c.turn = queued },
	} {
		i := newID(begun(backlog.Config{}))
		use(&i.Cursor)
		if _, retired := i.Retire(); retired != (what == "nothing") {
			t.Errorf("with %s: retired is %v", what, retired)
		}
	}
}

// TestGraces checks how long a write may go on after its connection was removed or replaced.
// granted is asked at the removal, after the first grace, and when the longest grace is over.
func TestGraces(t *testing.T) {
	link, _, _ := upgraded(t)
	webSocket, raw := link, NewConnection(&sleepy{}, false)
	for name, test := range map[string]struct {
		link    *Connection
		status  frame.Status
		next    bool // a newer connection waits
		over    bool // the context of Shutdown has ended
		stopped bool // its peer has stopped reading
		want    [3]bool
	}{
		"removed":                {webSocket, frame.StatusNormal, false, false, false, [3]bool{true, true, false}},
		"removed, and stopped":   {webSocket, frame.StatusNormal, false, false, true, [3]bool{true, true, false}},
		"replaced":               {webSocket, frame.StatusReplaced, true, false, false, [3]bool{true, true, false}},
		"replaced, and stopped":  {webSocket, frame.StatusReplaced, true, false, true, [3]bool{true, false, false}},
		"removed, late":          {webSocket, frame.StatusGoingAway, false, true, false, [3]bool{true, false, false}},
		"a raw one, removed":     {raw, frame.StatusNormal, false, false, false, [3]bool{true, false, false}},
		"a raw one, replaced":    {raw, frame.StatusReplaced, true, false, false, [3]bool{true, false, false}},
		"too slow":               {webSocket, frame.Status{}, false, false, false, [3]bool{}},
		"too slow, and replaced": {webSocket, frame.Status{}, true, false, false, [3]bool{}},
	} {
		b := newBench(t, backlog.Config{})
		b.Shared.Closed.Store(true)
		if test.over {
			b.Shared.Cut()
		}
		if test.next {
			b.conn = new(Connection)
		}
		test.link.ending = &ending{status: test.status}
		var got [3]bool
		for i, tries := range []int{0, 1, int(closeGrace / takeoverGrace)} {
			f := &flight{cursor: &b.Cursor, conn: test.link, tries: tries}
			if test.stopped {
				f.since, f.taken = time.Now().Add(-takeoverPatience), test.link.Progress()
			}
			got[i] = f.granted()
		}
		if got != test.want {
			t.Errorf("%s: more time is granted: %v, want %v", name, got, test.want)
		}
	}
}

// TestRemovalBehindAWrite: messages that wait when a connection is removed are reported when the
// write of a message ends. They are reported at once if only a control frame is being written.
func TestRemovalBehindAWrite(t *testing.T) {
	for name, test := range map[string]struct {
		begin  func(b *bench)
		atOnce uint64
	}{
		"of a message": {func(b *bench) { b.push("first") }, 0},
		"of a ping":    {func(b *bench) { b.conn.say(frame.Ping, 0) }, 3},
	} {
		b := newBench(t, backlog.Config{})
		link, _, _ := upgraded(t)
		b.attachLink(link)
		test.begin(b)
		f := b.take()
		for range 3 { // each in a chunk of its own
			b.push(strings.Repeat("behind", outbox.Piece/8))
		}
		b.remove(outcome.ErrDeleted)
		if s := b.stats(); s.Deleted != test.atOnce {
			t.Errorf("behind a write %s: %d are reported before the write has ended, want %d", name, s.Deleted, test.atOnce)
		}
		n := 0
		if f.chunk != nil {
			n = len(f.chunk.Frames())
		}
		f.land(n, nil)
		if s := b.stats(); s.Deleted != 3 || s.Waiting != 0 || !b.Backlog.Log.Empty() {
			t.Errorf("behind a write %s: %+v", name, s)
		}
	}
}

// TestOverdue: what a beat does about a peer when the heartbeat is 10 s.
func TestOverdue(t *testing.T) {
	link, _, _ := upgraded(t)
	raw := NewConnection(&sleepy{}, false)
	const d = 10 * time.Second
	for name, test := range map[string]struct {
		conn           *Connection
		life           life
		heard, written time.Duration // this long ago
		heartbeat      time.Duration
		silent, ping   bool
	}{
		"heard just now":           {link, open, 0, 0, d, false, false},
		"quiet for a heartbeat":    {link, open, d, d, d, false, true},
		"quiet for less":           {link, open, d - 1, d - 1, d, false, false},
		"pinged, and not answered": {link, open, d + 1, 1, d, false, false},
		"silent for two":           {link, open, 2 * d, d, d, true, false},
		"goodbye was said":         {link, goodbye, d, d, d, false, false},
		"goodbye said, and silent": {link, goodbye, 2 * d, d, d, true, false},
		"a raw connection":         {raw, open, d, d, d, false, false},
		"heartbeats are off":       {link, open, 9 * d, 9 * d, 0, false, false},
	} {
		now := time.Hour
		test.conn.life, test.conn.heard, test.conn.used = test.life, now-test.heard, now-test.written
		if silent, ping := test.conn.overdue(now, test.heartbeat); silent != test.silent || ping != test.ping {
			t.Errorf("%s: silent %v, ping %v; want %v, %v", name, silent, ping, test.silent, test.ping)
		}
	}
}
