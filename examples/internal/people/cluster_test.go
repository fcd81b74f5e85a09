package people

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/internal/people/peopletest"
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

func TestListOfAClusterSaysWhereAndHowMany(t *testing.T) {
	t.Parallel()
	d := new(directory)
	d.set(nil, 3, Person{"alice", "one"}, Person{"bob", "two"})
	_, url := newTestServer(t, Config{Node: "one", Directory: d})
	alice := peopletest.SignedIn(t, url, "alice")
	p := alice.Next("people")
	if !slices.Equal(p.Names, []string{"alice", "bob"}) || !slices.Equal(p.On, []string{"one", "two"}) || p.More != 3 || p.Partial || p.Node != "one" {
		t.Errorf("list is %+v", p)
	}
	d.set(errors.New("a node is silent"), 0, Person{"alice", "one"}, Person{"bob", ""}) // nothing changes here
	p = alice.Next("people")
	if !slices.Equal(p.On, []string{"one", ""}) || p.More != 0 || !p.Partial {
		t.Errorf("list is %+v", p)
	}
}

func TestPageLearnsItsNode(t *testing.T) {
	t.Parallel()
	nodes := []Node{{"one", 8080}, {"two", 8081}}
	_, url := newTestServer(t, Config{Node: "two", Nodes: nodes, Directory: new(directory)})
	answer, err := http.Get(url + "/me")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var me hello
	if err := json.NewDecoder(answer.Body).Decode(&me); err != nil || me.Node != "two" || !slices.Equal(me.Nodes, nodes) {
		t.Errorf("%+v, %v", me, err)
	}
	c := peopletest.Dial(t, url, "/ws", peopletest.CookieOf(t, url, "alice"))
	if h := c.Next("hello"); h.Node != "two" {
		t.Errorf("hello is %+v", h)
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

func TestServersWithOneKeyShareSessions(t *testing.T) {
	t.Parallel()
	key := NewKey()
	_, one := newTestServer(t, Config{Key: key})
	_, two := newTestServer(t, Config{Key: key})
	c := peopletest.Dial(t, two, "/ws", peopletest.CookieOf(t, one, "alice"))
	if h := c.Next("hello"); h.Name != "alice" {
		t.Errorf("hello is %+v", h)
	}
}

func TestOutcomeIsExplainedByTheCluster(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	s, url := newTestServer(t, Config{Explain: func(to string, err error) (string, bool) {
		if errors.Is(err, lost) {
			return to + " may have it.", true
		}
		return "", false
	}})
	alice := peopletest.SignedIn(t, url, "alice")
	data := encode(message{Kind: "message", From: "alice", To: "bob", Ref: 5})
	s.undelivered(gcpool.Undelivered{ID: "bob", Data: data, Err: lost})
	if u := alice.Next("undelivered"); u.Error != "bob may have it." || !u.Uncertain {
		t.Errorf("report is %+v", u)
	}
	alice.Send(peopletest.Request{To: "nobody", Text: "hi", Ref: 6})
	if o := alice.Next("outcome"); o.Error != "nobody is not connected." || o.Uncertain {
		t.Errorf("outcome is %+v", o)
	}
}
