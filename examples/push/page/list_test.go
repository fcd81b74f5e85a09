package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// directory is one that the test fills.
type directory struct {
	mu   sync.Mutex
	list List
	err  error
}

func (d *directory) set(err error, more int, people ...Person) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list, d.err = List{People: people, More: more}, err
}

func (d *directory) People(context.Context) (List, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list, d.err
}

// announced runs a page with one person in its pool, and returns what that person gets.
func announced(t *testing.T, p *Page) *json.Decoder {
	t.Helper()
	pool := gcpool.NewPool()
	if err := pool.Register(Pool); err != nil {
		t.Fatal(err)
	}
	pool.Start()
	near, far := net.Pipe()
	far.SetDeadline(time.Now().Add(20 * time.Second))
	if err := pool.GetConn(Pool).Add("alice", near); err != nil {
		t.Fatal(err)
	}
	p.Changed() // sooner than Announce looks by itself, or there is one list more
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { p.Announce(ctx, pool.GetConn(Pool), pool.GetStream(Pool)) })
	t.Cleanup(func() {
		cancel()
		far.Close()
		wg.Wait()
		pool.Shutdown(context.Background())
	})
	return json.NewDecoder(bufio.NewReader(far))
}

// next returns the next list.
func next(t *testing.T, lines *json.Decoder) (p people) {
	t.Helper()
	if err := lines.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestListIsPushedAfterAChange(t *testing.T) {
	t.Parallel()
	p := New(Config{})
	lines := announced(t, p)
	for range 2 {
		if l := next(t, lines); !slices.Equal(l.Names, []string{"alice"}) || l.On != nil {
			t.Errorf("list is %+v", l)
		}
		p.Changed()
	}
}

func TestListOfAClusterSaysWhereAndHowMany(t *testing.T) {
	t.Parallel()
	d := new(directory)
	d.set(nil, 3, Person{"alice", "one"}, Person{"bob", "two"})
	lines := announced(t, New(Config{Node: "one", Directory: d}))
	p := next(t, lines)
	if !slices.Equal(p.Names, []string{"alice", "bob"}) || !slices.Equal(p.On, []string{"one", "two"}) || p.More != 3 || p.Partial || p.Node != "one" {
		t.Errorf("list is %+v", p)
	}
	d.set(errors.New("a node is silent"), 0, Person{"alice", "one"}, Person{"bob", ""}) // nothing changes here
	p = next(t, lines)
	if !slices.Equal(p.On, []string{"one", ""}) || p.More != 0 || !p.Partial {
		t.Errorf("list is %+v", p)
	}
}

func TestPageLearnsItsNode(t *testing.T) {
	t.Parallel()
	nodes := []Node{{"one", 8080}, {"two", 8081}}
	p := New(Config{Node: "two", Nodes: nodes, Directory: new(directory)})
	w := httptest.NewRecorder()
	p.Handler(http.NotFoundHandler(), http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/me", nil))
	var me, h hello
	if err := json.Unmarshal(w.Body.Bytes(), &me); err != nil || me.Node != "two" || !slices.Equal(me.Nodes, nodes) {
		t.Errorf("%+v, %v", me, err)
	}
	if err := json.Unmarshal(p.Hello("alice"), &h); err != nil || h.Node != "two" || h.Name != "alice" {
		t.Errorf("hello is %+v, %v", h, err)
	}
}

func TestServerAloneDoesNotSpeakOfNodes(t *testing.T) {
	t.Parallel()
	for _, v := range []any{hello{Kind: "hello", Name: "a"}, people{Kind: "people", Names: []string{"a"}}, outcome{Kind: "outcome"}} {
		var fields map[string]any
		if err := json.Unmarshal(encode(v), &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"node", "nodes", "on", "more", "partial", "uncertain"} {
			if _, ok := fields[name]; ok {
				t.Errorf("%T has %q", v, name)
			}
		}
	}
}

func TestPagesWithOneKeyShareSessions(t *testing.T) {
	t.Parallel()
	key := NewKey()
	one, two, other := New(Config{Key: key}), New(Config{Key: key}), New(Config{})
	r := httptest.NewRequest("GET", "/ws", nil)
	r.AddCookie(one.Cookie("alice"))
	if who, err := two.Session(r); err != nil || who.Name != "alice" {
		t.Errorf("session is %+v, %v", who, err)
	}
	if who, err := other.Session(r); err == nil {
		t.Errorf("with another key the session is %+v", who)
	}
}
