package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// pingInterval is how often a node and the server ping each other, so that each notices within
// seconds that the other has vanished. The default is 2 minutes. Your own server needs
// ping_interval: "2s".
const pingInterval = 2 * time.Second

// A bus is the NATS server of the nodes.
type bus struct {
	url      string
	embedded *server.Server // nil if the server is not ours
}

// openBus starts a NATS server, or checks that the one at url answers.
func openBus(url string) (*bus, error) {
	b := &bus{url: url}
	if url == "" {
		return b, b.embed()
	}
	nc, err := b.connect("probe")
	if err != nil {
		return nil, fmt.Errorf("no NATS server at %s: %w", redacted(url), err)
	}
	nc.Close()
	return b, nil
}

// embed starts a server without a port, so that nobody else can connect.
func (b *bus) embed() (err error) {
	options := &server.Options{DontListen: true, NoSigs: true, NoLog: true, PingInterval: pingInterval}
	if b.embedded, err = server.NewServer(options); err != nil {
		return err
	}
	b.embedded.Start()
	if !b.embedded.ReadyForConnections(10 * time.Second) {
		b.close()
		return errors.New("the embedded NATS server does not start")
	}
	return nil
}

// connect returns a connection that never stops reconnecting. If it gave up, its node would be cut
// off permanently.
func (b *bus) connect(name string) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("gcpool " + name),
		nats.Timeout(2 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.PingInterval(pingInterval), nats.FlusherTimeout(pingInterval), nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the node logs them
	}
	if b.embedded != nil {
		opts = append(opts, nats.InProcessServer(b.embedded))
	}
	return nats.Connect(b.url, opts...)
}

func (b *bus) close() {
	if b.embedded != nil {
		b.embedded.Shutdown()
		b.embedded.WaitForShutdown()
	}
}

func (b *bus) String() string {
	if b.embedded != nil {
		return "embedded"
	}
	return "at " + redacted(b.url)
}

// redacted returns the URLs of servers without users, passwords and tokens.
func redacted(list string) string {
	all := strings.Split(list, ",")
	for i, text := range all {
		_, host, found := strings.Cut(text, "@")
		if !found {
			continue
		}
		all[i] = host
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil && u.Host != "" {
			u.User = nil
			all[i] = u.String()
		}
	}
	return strings.Join(all, ",")
}
