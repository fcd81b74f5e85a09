package cluster

import (
	"log/slog"
	"time"
)

// An Option sets one property of a Node.
type Option func(*Node)

// WithPrefix sets the first token, or tokens, of all subjects, up to 256 bytes. Nodes with
// different prefixes do not see each other. The default is "gcpool".
func WithPrefix(prefix string) Option { return func(n *Node) { n.prefix = prefix } }

// WithName sets the name that Node.Where returns for this node, of up to 256 bytes. Names should be
// unique. The default is a unique string.
func WithName(name string) Option { return func(n *Node) { n.name = name } }

// WithTimeout sets how long a message that has left this node waits for an answer before it ends
// with ErrUncertain. A node that holds the message for a slow peer says so, and the wait starts
// over. Time during which this process was stopped does not count. WithTimeout also bounds how long
// a node looks for an id that each node says is on another node. The default is 5 s; d must be at
// least a second.
func WithTimeout(d time.Duration) Option { return func(n *Node) { n.timeout = d } }

// WithLogger sets where the node logs errors of NATS, malformed messages and lost connections, at
// Warn, and reconnects, at Info. The default is slog.Default, which nil also selects.
func WithLogger(l *slog.Logger) Option { return func(n *Node) { n.logs = l } }
