package cluster

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"weak"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// check returns an error for arguments and options that cannot work.
func (n *Node) check() error {
	wrong := ""
	switch {
	case n.pool == nil || n.nc == nil:
		wrong = "nil pool or connection"
	case n.prefix == "" || strings.ContainsAny(n.prefix, " \t\r\n*>") || strings.Contains("."+n.prefix+".", ".."):
		wrong = fmt.Sprintf("WithPrefix(%q) is not a subject of NATS", n.prefix)
	case len(n.prefix) > maxName: // NATS closes a connection with a line of more than 4 KiB
		wrong = fmt.Sprintf("WithPrefix must not be longer than %d bytes", maxName)
	case len(n.name) > maxName:
		wrong = fmt.Sprintf("WithName must not be longer than %d bytes", maxName)
	case n.nc.Opts.NoEcho:
		wrong = "nats.NoEcho: a node must hear its own messages, to see that NATS answers"
	case n.timeout < time.Second:
		wrong = "WithTimeout must be at least a second"
	case !n.nc.IsConnected():
		return fmt.Errorf("gcpool/cluster: not connected to NATS (still connecting, or closed): %w", nats.ErrConnectionClosed)
	case !n.nc.HeadersSupported():
		return fmt.Errorf("gcpool/cluster: %w", nats.ErrHeadersNotSupported)
	}
	if wrong != "" {
		return fmt.Errorf("%w: %s", gcpool.ErrInvalid, wrong)
	}
	return nil
}

// subscribe subscribes to the subjects of the node itself, and checks permissions.
func (n *Node) subscribe() error {
	before := n.nc.LastError()
	for subject, c := range map[string]chan *nats.Msg{
		n.subject("r", n.id, "*"): n.in, n.subject("d", n.id): n.in,
		n.subject("s"): n.control, n.subject("s", n.id): n.control,
	} {
		sub, err := n.nc.ChanSubscribe(subject, c)
		if err != nil {
			return err
		}
		n.subs = append(n.subs, sub)
	}
	sub, err := n.nc.Subscribe(n.subject("b"), n.receiveBroadcast)
	if err != nil {
		return err
	}
	n.subs = append(n.subs, sub)
	return (&announcer{Node: n}).permitted(before)
}

// permitted returns an error if NATS does not permit a subject that a node needs, or allows too few
// subscriptions. It uses each subject once, and then pings NATS, which reports each violation
// before it answers the ping. The argument before is nc's last error from the time before
// subscribe. Other nodes ignore these messages. None of them is a heartbeat to all nodes: the
// others would then ask this node about lost pushes for an hour, even if Join fails.
func (s *announcer) permitted(before error) error {
	self := appendString(nil, s.id)
	s.publish(s.subject("s"), append(self, joined, 0, 0))
	s.heartbeatTo(s.subject("s", s.id), alive)
	s.publish(s.subject("d", s.id), append(self, probe))
	s.publish(s.subject("r", s.id, "0"), self)
	s.publish(s.subject("b"), appendString(self, s.id)) // a pool that no node has
	nobodys := []string{s.subject("m", token(""), token("")), s.subject("p", s.id, "0")}
	for _, subject := range nobodys {
		s.publish(subject, self)
		sub, err := s.nc.SubscribeSync(subject)
		if err != nil {
			return err
		}
		_ = sub.Unsubscribe()
	}
	if err := s.nc.FlushTimeout(s.timeout); err != nil {
		return err
	}
	err := s.nc.LastError()
	if err != before && errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		return err // before may be ErrMaxSubscriptionsExceeded too: nats.go has one value for it
	}
	return nil
}

func (n *Node) unsubscribe() {
	for _, sub := range n.subs {
		_ = sub.Unsubscribe() // fails only if nc is closed, which has ended sub too
	}
}

// watch records the errors of NATS, and passes them on to the handler that nc had before.
func (n *Node) watch() {
	before, self := n.nc.ErrorHandler(), weak.Make(n)
	n.nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if n := self.Value(); n != nil && !n.ended.Load() { // nc outlives the node, and must not retain it
			noted := err
			if sub != nil {
				noted = fmt.Errorf("%w: %q", err, sub.Subject)
			}
			n.note(noted)
		}
		if before != nil {
			before(nc, sub, err)
		}
	})
}
