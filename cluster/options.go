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
// a unique string. Names need not be unique, but should.
func WithName(name string) Option { return func(n *Node) { n.name = name } }

// WithTimeout sets how long nothing may be heard of a message that left this
// node before its outcome is ErrUncertain, and how long an id is looked for of which
// each node says that it has moved on. A peer that is slow to take it is not memberTimeout,
// for its node says so; nor is it while this process is stopped. It must be at least a
// second; the default is 5 s.
func WithTimeout(d time.Duration) Option { return func(n *Node) { n.timeout = d } }

// WithLogger sets where errors of NATS and malformed messages are logged, at
// Warn; by default, and with nil, [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(n *Node) { n.logs = l } }
