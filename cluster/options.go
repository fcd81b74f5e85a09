package cluster

import (
	"log/slog"
	"time"
)

// An Option sets one thing about a Node.
type Option func(*Node)

// WithPrefix sets the first token, or tokens, of all subjects. Nodes with
// different prefixes do not see each other. The default is "gcpool".
func WithPrefix(prefix string) Option { return func(n *Node) { n.prefix = prefix } }

// WithName sets what [Node.Where] calls this node, in up to 256 bytes; by default
// a unique string. Names should be unique.
func WithName(name string) Option { return func(n *Node) { n.name = name } }

// WithTimeout sets how long a message that left this node waits for an answer before it
// ends with ErrUncertain. A node that has it for a slow peer says so, which begins the
// time anew, and time for which this process is stopped does not count. It is also how
// long an id is looked for that each node says is with another. It must be at least a
// second; the default is 5 s.
func WithTimeout(d time.Duration) Option { return func(n *Node) { n.timeout = d } }

// WithLogger sets where errors of NATS and malformed messages are logged, at
// Warn; by default, and with nil, [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(n *Node) { n.logs = l } }
