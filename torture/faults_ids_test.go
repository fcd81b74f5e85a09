package torture

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unicode"
	"unicode/utf8"

	"github.com/nulijiabei/gcpool"
)

// oddIDs are ids that forge log lines, send commands to a terminal, are not UTF-8 or look
// alike. Some are very long and differ only in their last byte.
var oddIDs = []string{
	"a\r\nlevel=ERROR msg=forged", "\n", "\r", "\x00", "\x1b]0;title\x07\x1b[2J\x1b[31m", "\u009b31m", "\x7f\b\b\b",
	"\xff", "\xfe", "\xff\xfe\xfd", "\ufffd", "\xc3", "\xed\xa0\x80", "é", "e\u0301", "\u202eevil", "\u2028",
	" ", "  ", `"`, `\"`, `\n`, "'", "%s%n%!d(MISSING)", "${jndi:ldap://x}", "*", "/", "../..", "a", "A",
	"a" + strings.Repeat("é", 100), // the log cuts it in the middle of a letter
	strings.Repeat("\r\n", 1<<19), strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20-1) + "y",
}

// TestFault13OddIDs: an id is a string of bytes, and equals only itself. It gets its own
// messages, hooks get it unchanged, and the log quotes it.
func TestFault13OddIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { testOddIDs(t, oddIDs, rand.New(rand.NewPCG(13, 0))) })
}

// TestFault13RandomIDs is the same test with odd ids of a few random bytes.
func TestFault13RandomIDs(t *testing.T) {
	const odd = "\r\n\x00\x1b\xff\xc3\xa9\"\\%& =+#a"
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		var ids []string
		for len(ids) < 6 {
			id := make([]byte, 1+rnd.IntN(4))
			for i := range id {
				id[i] = odd[rnd.IntN(len(odd))]
			}
			if !slices.Contains(ids, string(id)) {
				ids = append(ids, string(id))
			}
		}
		testOddIDs(t, ids, rnd)
	})
}

func testOddIDs(t *testing.T, ids []string, rnd *rand.Rand) {
	log := new(record)
	came, went := make(map[string]int), make(map[string]int) // only the hook uses these until Shutdown
	r := newRig(t, gcpool.WithLogger(slog.New(log.handler())), gcpool.WithOutbox(8<<20),
		gcpool.WithPresence(func(_, id string, connected bool) {
			if connected {
				came[id]++
				return
			}
			went[id]++
			panic("have this logged, too")
		}))
	for i, id := range ids {
		k := kinds[i%len(kinds)]
		if len(id) > 1000 {
			k = raw // too long for a request
		}
		r.reader(id, k)
	}
	found := make(map[string]int)
	for id := range r.conns.All() {
		found[id]++
	}
	for _, id := range ids {
		if found[id] != 1 {
			t.Errorf("All has %.40q %d times", id, found[id])
		}
		if err := r.deliver(1, id, 40); err != nil {
			t.Errorf("Deliver to %.40q: %v", id, err)
		}
	}
	deleted := oddDeleted(r, ids, rnd)
	s, err := r.done(far)
	if err != nil || s.Written != uint64(2*len(ids)-deleted) || s.NotConnected != uint64(deleted) {
		t.Errorf("Shutdown: %v, with %d of %d ids deleted: %+v", err, deleted, len(ids), s)
	}
	for _, id := range ids {
		if came[id] != 1 || went[id] != 1 {
			t.Errorf("%.40q came %d times and went %d times", id, came[id], went[id])
		}
	}
	log.check(t, ids)
}

// oddDeleted deletes some of the ids, pushes to all of them, and returns the number deleted. A
// message in the ledger names its id, so the ledger notices a message that reaches another id.
func oddDeleted(r *rig, ids []string, rnd *rand.Rand) (deleted int) {
	for _, id := range ids {
		if rnd.IntN(2) == 0 {
			if deleted++; !r.conns.Del(id) {
				r.t.Errorf("%.40q cannot be deleted", id)
			}
		}
	}
	synctest.Wait()
	for _, id := range ids {
		r.push(1, id, 40)
	}
	return deleted
}

// record keeps the log: the message and id of each record, and the lines that the usual
// handlers print for it.
type record struct {
	mu         sync.Mutex
	ids        map[string][]string // by message
	records    int
	text, json bytes.Buffer
}

func (r *record) handler() slog.Handler {
	r.ids = make(map[string][]string)
	all := &slog.HandlerOptions{Level: slog.LevelDebug}
	return &tee{r, []slog.Handler{slog.NewTextHandler(&r.text, all), slog.NewJSONHandler(&r.json, all)}, ""}
}

// tee is a [slog.Handler] that keeps the id attribute.
type tee struct {
	*record
	to []slog.Handler
	id string
}

func (h *tee) Enabled(context.Context, slog.Level) bool { return true }

func (h *tee) WithGroup(string) slog.Handler { return h }

func (h *tee) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := &tee{h.record, nil, h.id}
	for _, a := range attrs {
		if a.Key == "id" {
			next.id = a.Value.String()
		}
	}
	for _, to := range h.to {
		next.to = append(next.to, to.WithAttrs(attrs))
	}
	return next
}

func (h *tee) Handle(ctx context.Context, rec slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records++
	h.ids[rec.Message] = append(h.ids[rec.Message], h.id)
	for _, to := range h.to {
		to.Handle(ctx, rec)
	}
	return nil
}

// check checks that the log says of each id that it joined, that it left, and that its hook
// panicked. Each entry must be one line, with the id shortened, and quoted if that changes it.
func (r *record) check(t *testing.T, ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const most = 128
	var want []string
	for _, id := range ids {
		if len(id) > most {
			id = id[:most] + "..."
		}
		if quoted := strconv.Quote(id); quoted != `"`+id+`"` {
			id = quoted
		}
		want = append(want, id)
	}
	slices.Sort(want)
	for _, message := range []string{"gcpool: joined", "gcpool: left", "gcpool: hook panicked"} {
		got := r.ids[message]
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", message, got, want)
		}
	}
	for name, log := range map[string]string{"text": r.text.String(), "json": r.json.String()} {
		lines := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
		if len(lines) != r.records {
			t.Errorf("%d records are %d lines of %s", r.records, len(lines), name)
		}
		for _, line := range lines {
			if err := harmless(line); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// harmless returns nil if line can be shown on a terminal.
func harmless(line string) error {
	odd := func(c rune) bool { return !unicode.IsPrint(c) }
	if len(line) > 2000 || !utf8.ValidString(line) || strings.ContainsFunc(line, odd) {
		return fmt.Errorf("a line of %d bytes that starts with %.300q", len(line), line)
	}
	return nil
}
