package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/cluster"
	"github.com/nulijiabei/gcpool/examples/push/page"
	"github.com/nulijiabei/gcpool/examples/push/page/pagetest"
)

func TestPushReachesAnotherNodeAndItsOutcomeComesBack(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	alice, bob := pagetest.SignedIn(t, urls[0], "alice"), pagetest.SignedIn(t, urls[1], "bob")
	awaitPeople(alice, "alice on node 1", "bob on node 2") // news take their time from node to node
	for i, c := range []struct {
		from, to *pagetest.Client
		request  pagetest.Request
	}{
		{alice, bob, pagetest.Request{To: "bob", Text: "hi", Ref: 1}},
		{bob, alice, pagetest.Request{To: "alice", Text: "hi yourself", Ref: 2}},
	} {
		c.from.Send(c.request)
		if m := c.to.Next("message"); m.To != c.request.To || m.Text != c.request.Text {
			t.Errorf("message %d is %+v", i, m)
		}
		if o := c.from.Next("outcome"); o.Ref != c.request.Ref || o.Error != "" || o.Uncertain {
			t.Errorf("outcome %d is %+v", i, o)
		}
	}
	alice.Send(pagetest.Request{To: "nobody", Text: "hi", Ref: 3})
	if o := alice.Next("outcome"); o.Ref != 3 || o.Error != "nobody is not connected." || o.Uncertain {
		t.Errorf("outcome of a push to nobody is %+v", o)
	}
}

func TestMessageToEveryoneReachesAllNodes(t *testing.T) {
	t.Parallel()
	var all []*pagetest.Client
	for i, url := range startCluster(t) {
		all = append(all, pagetest.SignedIn(t, url, fmt.Sprint("person ", i)))
	}
	all[2].Send(pagetest.Request{To: "", Text: "all", Ref: 1})
	for i, who := range all {
		if m := who.Next("message"); m.From != "person 2" || m.To != "*" || m.Text != "all" {
			t.Errorf("message to person %d is %+v", i, m)
		}
	}
	if o := all[2].Next("outcome"); o.Error != "" {
		t.Errorf("outcome is %+v", o)
	}
}

func TestMessagesToAnotherNodeKeepTheirOrder(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	alice, bob := pagetest.SignedIn(t, urls[0], "alice"), pagetest.SignedIn(t, urls[2], "bob")
	awaitPeople(alice, "alice on node 1", "bob on node 3")
	const messages = 100
	go func() {
		for i := range messages {
			alice.Send(pagetest.Request{To: "bob", Text: fmt.Sprint(i), Ref: int64(i)})
		}
	}()
	for i := range messages {
		if m := bob.Next("message"); m.Text != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Text)
		}
	}
	for range messages {
		if o := alice.Next("outcome"); o.Error != "" {
			t.Fatalf("outcome is %+v", o)
		}
	}
}

func TestNewerConnectionOnAnotherNodeTakesOver(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	cookie := pagetest.CookieOf(t, urls[0], "alice")
	first := pagetest.SignedIn(t, urls[0], "alice")
	second := pagetest.Dial(t, urls[1], "/ws?as=alice", cookie) // of the other node
	if h := second.Next("hello"); h.Name != "alice" || h.Node != "node 2" {
		t.Errorf("hello is %+v", h)
	}
	if status := first.CloseStatus(); status != 4500 {
		t.Errorf("the older is closed with %d", status)
	}
	bob := pagetest.SignedIn(t, urls[2], "bob")
	awaitPeople(bob, "alice on node 2", "bob on node 3")
	bob.Send(pagetest.Request{To: "alice", Text: "still there?", Ref: 1})
	if m := second.Next("message"); m.Text != "still there?" {
		t.Errorf("message is %+v", m)
	}
}

func TestPeopleAreThoseOfAllNodesWithTheirNodes(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	alice, bob := pagetest.SignedIn(t, urls[0], "alice"), pagetest.SignedIn(t, urls[1], "bob")
	awaitPeople(alice, "alice on node 1", "bob on node 2")
	awaitPeople(bob, "alice on node 1", "bob on node 2")
	carol := pagetest.SignedIn(t, urls[2], "carol")
	for _, who := range []*pagetest.Client{alice, bob, carol} {
		awaitPeople(who, "alice on node 1", "bob on node 2", "carol on node 3")
	}
	bob.Close()
	awaitPeople(alice, "alice on node 1", "carol on node 3")
}

func TestListOfManyIsCut(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	for i := range most + 1 {
		pagetest.SignedIn(t, urls[1+i%2], fmt.Sprintf("p%03d", i)).Ignore()
	}
	alice := pagetest.SignedIn(t, urls[0], "alice")
	for {
		if p := alice.Next("people"); len(p.Names)+p.More == most+2 && !p.Partial { // a list has a second, or is partial
			if len(p.Names) != most || p.Names[0] != "alice" || p.On[0] != "node 1" || slices.Contains(p.On, "") {
				t.Errorf("list is %+v", p)
			}
			return
		}
	}
}

func TestPageNamesItsNodeAndTheOthers(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	for i, url := range urls {
		me := whoAmI(t, url, "")
		if me.Node != fmt.Sprint("node ", i+1) || len(me.Nodes) != count {
			t.Fatalf("%s says %+v", url, me)
		}
		for j, n := range me.Nodes {
			if !strings.HasSuffix(urls[j], fmt.Sprint(":", n.Port)) || n.Name != fmt.Sprint("node ", j+1) {
				t.Errorf("node %d is %+v, and at %s", j, n, urls[j])
			}
		}
	}
}

func TestSessionHoldsOnAllNodes(t *testing.T) {
	t.Parallel()
	urls := startCluster(t)
	cookie := pagetest.CookieOf(t, urls[0], "alice")
	for _, url := range urls {
		if me := whoAmI(t, url, cookie); me.Name != "alice" {
			t.Errorf("%s says %+v", url, me)
		}
	}
}

func TestLostNodeIsAnUncertainOutcome(t *testing.T) {
	t.Parallel()
	b, proxy := startBus(t)
	key := page.NewKey()
	one := startNode(t, b, page.Config{Key: key, Node: "one"})
	two := startNode(t, &bus{url: proxy.url()}, page.Config{Key: key, Node: "two"})
	alice, bob, carol := pagetest.SignedIn(t, one, "alice"), pagetest.SignedIn(t, two, "bob"), pagetest.SignedIn(t, one, "carol")
	awaitPeople(alice, "alice on one", "bob on two", "carol on one")
	var o pagetest.Received
	for ref := range int64(5) {
		proxy.pause()
		alice.Send(pagetest.Request{To: "bob", Text: "hi", Ref: ref})
		if o = alice.Next("outcome"); o.Ref != ref || o.Error != page.Reason("bob", context.DeadlineExceeded) {
			break
		}
		// The machine has stood still, which does not count for the node, but for its patience.
		proxy.resume()
		awaitPeople(alice, "alice on one", "bob on two", "carol on one")
	}
	if !o.Uncertain || o.Error != "bob's node or NATS was lost on the way, so it may have been delivered." {
		t.Errorf("outcome is %+v", o)
	}
	for !carol.Next("people").Partial { // the list owns up to it
	}
	proxy.resume()
	awaitPeople(bob, "alice on one", "bob on two", "carol on one")
}

func TestNodeWithoutNATSServesItsOwn(t *testing.T) {
	t.Parallel()
	_, proxy := startBus(t)
	url := startNode(t, &bus{url: proxy.url()}, page.Config{Node: "one"})
	alice, bob := pagetest.SignedIn(t, url, "alice"), pagetest.SignedIn(t, url, "bob")
	awaitPeople(alice, "alice on one", "bob on one")
	proxy.close()
	p := alice.Next("people")
	for ; !p.Partial; p = alice.Next("people") {
	}
	if !slices.Equal(p.On, []string{"one", "one"}) {
		t.Errorf("list is %+v", p)
	}
	alice.Send(pagetest.Request{To: "bob", Text: "hi", Ref: 1})
	if o := alice.Next("outcome"); o.Error != "" {
		t.Errorf("outcome of a push to this node is %+v", o)
	}
	bob.Next("message")
	alice.Send(pagetest.Request{To: "carol", Text: "hi", Ref: 2})
	o := alice.Next("outcome")
	if o.Error != "carol is not connected to this node, and NATS, which knows the others, is away." || o.Uncertain {
		t.Errorf("outcome of a push to elsewhere is %+v", o)
	}
}

func TestOnlyAClustersOwnOutcomesAreExplained(t *testing.T) {
	t.Parallel()
	b, _ := startBus(t)
	nc, err := b.connect("test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	n := &node{nc: nc}
	for _, err := range []error{gcpool.ErrNotConnected, gcpool.ErrSlow, gcpool.ErrDeleted, errors.New("any")} {
		if why, uncertain := n.reason("bob", err); why != page.Reason("bob", err) || uncertain {
			t.Errorf("%v is explained as %q, %v", err, why, uncertain)
		}
	}
	if why, uncertain := n.reason("bob", fmt.Errorf("%w", cluster.ErrUncertain)); why == "" || !uncertain {
		t.Errorf("uncertain is explained as %q, %v", why, uncertain)
	}
}

func TestDashboardIsOnEachNode(t *testing.T) {
	t.Parallel()
	for _, url := range startCluster(t) {
		answer, err := http.Get(url + "/debug/gcpool/")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", url, answer.StatusCode)
		}
	}
}
