// Package page has everything except gcpool that examples/push and examples/cluster need to show a
// page in a browser. The only thing that it pushes is the list of people.
//
//	page.go     the page of one server
//	session.go  who a browser is: signed cookies
//	web.go      HTTP: sign-in, and the HTML with its style and script
//	lines.go    the JSON lines between the server and the script
//	list.go     the list of people, pushed after each change
//	lanes.go    the order in which the messages of one sender leave
//	local.go    who may see the dashboard
//	serve.go    the life of an HTTP server
package page

import "github.com/nulijiabei/gcpool"

// Pool is the name under which a server registers its people. Their names are the ids.
const Pool = "people"

// A Config says what a [Page] belongs to. The zero value is for a server alone.
type Config struct {
	// Key signs the sessions; nil means a new key, see [NewKey]. Servers on one host need the same
	// key, because browsers do not keep cookies apart by port.
	Key []byte
	// Node is the name of this server in its cluster, and Nodes are the servers that the page
	// links to. Both are empty for a server alone.
	Node  string
	Nodes []Node
	// Directory knows who is connected in the cluster; nil means only those connected here.
	Directory Directory
}

// A Node is a server of a cluster, on the same host as the others.
type Node struct {
	Name string `json:"name"`
	Port int    `json:"port"`
}

// A Page is what the browsers of one server see.
type Page struct {
	config   Config
	sessions *sessions

	changed chan struct{} // holds a signal if people have come or gone here since the last list
	last    []byte        // the last list; owned by Announce
}

// New returns a page.
func New(c Config) *Page {
	if c.Key == nil {
		c.Key = NewKey()
	}
	return &Page{config: c, sessions: newSessions(c.Key), changed: make(chan struct{}, 1)}
}

// directory knows who is connected.
func (p *Page) directory(conns *gcpool.ConnPool) Directory {
	if p.config.Directory != nil {
		return p.config.Directory
	}
	return here{conns}
}
