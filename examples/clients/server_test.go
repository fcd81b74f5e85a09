package clients

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

const (
	pushes    = 1000
	heartbeat = 2 * time.Second  // a busy machine may hold up a client for twice as long
	patience  = 30 * time.Second // of a test for what a client does

	opText, opBinary, opClose, opPing, opPong = 0x1, 0x2, 0x8, 0x9, 0xa
)

// A record is what a client says that it got.
type record struct {
	Lengths []int    `json:"lengths"`
	Digest  string   `json:"digest"`
	Kinds   []string `json:"kinds"`
}

// A fixture is the server, with one client that is signed in.
type fixture struct {
	t        *testing.T
	beat     time.Duration
	late     bool // the server has not waited for a goodbye
	pool     *gcpool.Pool
	conns    *gcpool.ConnPool
	stream   *gcpool.StreamPool
	host     string // and port
	session  string
	joined   chan *counted
	records  chan string
	failures chan gcpool.Undelivered
}

const user = "alice"

func newFixture(t *testing.T, beat time.Duration) *fixture {
	t.Helper()
	texts()
	binaries()
	f := &fixture{t: t, beat: beat, session: rand.Text(), joined: make(chan *counted, 1), records: make(chan string, 1),
		failures: make(chan gcpool.Undelivered, pushes)}
	// What waits for a client that pauses may be everything, so that the test
	// does not depend on how busy the machine is.
	f.pool = gcpool.NewPool(gcpool.WithHeartbeat(beat), gcpool.WithOutbox(64<<20), gcpool.WithNewline(false),
		gcpool.WithUndelivered(func(u gcpool.Undelivered) { f.failures <- u }))
	if err := f.pool.Register("users"); err != nil {
		t.Fatal(err)
	}
	f.pool.Start()
	f.conns, f.stream = f.pool.GetConn("users"), f.pool.GetStream("users")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counting := &listener{Listener: tcp, conns: make(map[string]*counted)}
	s := &Server{
		Conns:    f.conns,
		UserOf:   f.userOf,
		Received: func(_ *websocket.Conn, line []byte) { f.records <- string(line) },
		Joined:   func(_ string, ws *websocket.Conn) { f.joined <- counting.of(ws.Request().RemoteAddr) },
	}
	web := &httptest.Server{Listener: counting, Config: &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 5 * time.Second}}
	web.Start()
	f.host = tcp.Addr().String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		web.Close()
		f.pool.Shutdown(ctx) // its error is of interest where a test looks at it
	})
	return f
}

// userOf stands for the lookup of a session.
func (f *fixture) userOf(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil || cookie.Value != f.session {
		return ""
	}
	return user
}

func (f *fixture) origin() string { return "http://" + f.host }

func (f *fixture) cookie() string { return "session=" + f.session }

// await polls until a state is reached that nothing else tells of.
func (f *fixture) await(what string, reached func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(5 * time.Millisecond) {
		select {
		case u := <-f.failures:
			f.t.Fatalf("waiting for %s: a message of %d bytes was not delivered: %v", what, len(u.Data), u.Err)
		default:
		}
		if time.Now().After(end) || f.conns.Len() == 0 && !reached() {
			f.t.Fatalf("%s: not within %v; %d connected", what, patience, f.conns.Len())
		}
	}
}

// serve is the server's side of a test: it pushes, lets the client idle for three
// heartbeats, and compares the client's record. It returns the client's connection.
func (f *fixture) serve(kind string) *counted {
	f.t.Helper()
	messages, want := texts()
	if kind == "binary" {
		messages, want = binaries()
	}
	conn := f.join()
	began := time.Now()
	for i, message := range messages {
		if err := f.stream.Add(user, message); err != nil {
			f.t.Fatalf("message %d: %v", i, err)
		}
	}
	f.await("the pushes on the wire", func() bool { return f.pool.Stats()[0].Waiting == 0 })
	f.t.Logf("%d pushes, %d KiB in %v", pushes, total(want.Lengths)>>10, time.Since(began).Round(time.Millisecond))

	// Each ping comes when nothing was heard for a heartbeat. The clock starts when the earlier pings
	// are answered.
	f.await("the answers to earlier pings", func() bool { return conn.in.count(opPong) >= conn.out.count(opPing) })
	before, idle := conn.in.count(opPong), time.Now()
	f.await("the pongs", func() bool { return conn.in.count(opPong) >= before+3 })
	if took := time.Since(idle); took < 2*f.beat {
		f.t.Errorf("3 pongs came within %v, so they are no answers to the heartbeat", took)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if err := f.stream.Deliver(ctx, user, []byte("report")); err != nil {
		f.t.Fatalf("after an idle time of three heartbeats: %v", err)
	}
	select {
	case line := <-f.records:
		f.compare(line, want)
	case <-ctx.Done():
		f.t.Fatal("the client does not report")
	}
	op := map[string]byte{"text": opText, "binary": opBinary}[kind]
	f.t.Logf("on the wire: %d %s frames, %d pings, %d pongs", conn.out.count(op), kind, conn.out.count(opPing), conn.in.count(opPong))
	if got := conn.out.count(op); got != pushes+1 {
		f.t.Errorf("%d frames instead of %d", got, pushes+1)
	}
	return conn
}

// join returns the connection with which the client comes.
func (f *fixture) join() *counted {
	f.t.Helper()
	select {
	case conn := <-f.joined:
		return conn
	case <-time.After(patience):
		f.t.Fatal("the client does not come")
		return nil
	}
}

// end closes conn with a code after which the client comes back, and what comes then with
// one after which it stays away.
func (f *fixture) end(conn *counted) {
	f.t.Helper()
	goodbyes := 0
	for range 5 {
		goodbyes += f.kick(conn, 4100)
		if conn = f.join(); goodbyes > 0 {
			break
		}
	}
	if goodbyes != 1 {
		f.t.Errorf("%d goodbyes of the client", goodbyes)
	}
	f.kick(conn, 4900)
}

// kick closes conn with a code, and returns how many goodbyes of the client came. On a busy machine
// it may be none: the server waits for a second.
func (f *fixture) kick(conn *counted, code int) (goodbyes int) {
	f.t.Helper()
	began := time.Now()
	if n, err := f.conns.Kick(user, code, ""); n != 1 || err != nil {
		f.t.Errorf("Kick: %d, %v", n, err)
	}
	for end := began.Add(patience); conn.in.count(opClose) == 0 && !conn.closed.Load(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("no end of the connection after %d", code)
		}
	}
	goodbyes = conn.in.count(opClose)
	f.late = f.late || goodbyes == 0
	if goodbyes != 1 && time.Since(began) < time.Second {
		f.t.Errorf("%d goodbyes of the client after %d", goodbyes, code)
	}
	return goodbyes
}

// ended checks what a client has printed. A client that could not say goodbye may print that first.
func (f *fixture) ended(output string) {
	f.t.Helper()
	const want = "closed with 4900"
	if output != want && !(f.late && strings.HasSuffix(output, "\n"+want)) {
		f.t.Errorf("it ended with %q", output)
	}
}

// Made once, for it takes a while with -race, and the server shares the process.
var (
	texts    = sync.OnceValues(func() ([][]byte, record) { return payloads("text") })
	binaries = sync.OnceValues(func() ([][]byte, record) { return payloads("binary") })
)

// payloads returns all messages, and the record that they should make.
func payloads(kind string) (messages [][]byte, want record) {
	want.Kinds = []string{kind}
	digest := make([]byte, sha256.Size)
	random := mathrand.New(mathrand.NewPCG(6, 455))
	for i := range pushes {
		message := payload(random, i, kind)
		messages = append(messages, message)
		sum := sha256.Sum256(append(digest, message...))
		digest = sum[:]
		want.Lengths = append(want.Lengths, len(message))
	}
	want.Digest = hex.EncodeToString(digest)
	return messages, want
}

// payload returns message i: those around which a frame's header changes, three
// of 1 MiB, and else up to 2 KiB.
func payload(random *mathrand.Rand, i int, kind string) []byte {
	sizes := []int{0, 1, 125, 126, 127, 65535, 65536, 65537, 0, 1 << 20}
	size := random.IntN(2 << 10)
	if i%333 < len(sizes) && i < 999 {
		size = sizes[i%333]
	}
	message := make([]byte, 0, size)
	for len(message) < size {
		if kind == "binary" {
			message = append(message, byte(random.Uint32()))
			continue
		}
		letter := []rune("aé中😀\n\x00\"")[random.IntN(7)]
		if utf8.RuneLen(letter) > size-len(message) {
			letter = 'x'
		}
		message = utf8.AppendRune(message, letter)
	}
	return message
}

func (f *fixture) compare(line string, want record) {
	f.t.Helper()
	var got record
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		f.t.Fatalf("record %.100q: %v", line, err)
	}
	if len(got.Lengths) != pushes {
		f.t.Errorf("%d messages came", len(got.Lengths))
	}
	if i := slices.IndexFunc(got.Lengths, differs(want.Lengths)); i >= 0 {
		f.t.Errorf("message %d has %d bytes", i, got.Lengths[i])
	}
	if got.Digest != want.Digest {
		f.t.Errorf("the digest is %s instead of %s", got.Digest, want.Digest)
	}
	if strings.Join(got.Kinds, " ") != strings.Join(want.Kinds, " ") {
		f.t.Errorf("the messages are %q", got.Kinds)
	}
}

// differs returns a function that compares what it is called with, in order.
func differs(want []int) func(int) bool {
	i := -1
	return func(got int) bool {
		i++
		return i >= len(want) || got != want[i]
	}
}

func total(lengths []int) (sum int) {
	for _, n := range lengths {
		sum += n
	}
	return sum
}
