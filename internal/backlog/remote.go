package backlog

import (
	"bytes"
	"context"

	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A Remote is what package gcpool documents as Cluster.
type Remote interface {
	Changed(pool, id string)
	Forward(pool, id string, batch [][]byte, done func(errs []error))
	Broadcast(pool string, data []byte) error
}

const (
	// remoteCost is how many bytes a message to be forwarded counts in addition to its payload.
	// Its id may have no connection anywhere, and then the id itself takes memory.
	remoteCost = 512
	// remoteShare is how many full outboxes of such messages may wait in a pool.
	remoteShare = 64
)

// Remote returns the Remote that carries messages elsewhere, nil if there is none.
func (s *Shared) Remote() Remote { return *s.remote.Load() }

// SetRemote sets the Remote that carries messages elsewhere. After SetRemote(nil), the caller
// must call WithoutRemote for each id.
func (s *Shared) SetRemote(r Remote) { s.remote.Store(&r) }

// BroadcastRemote makes r send data to all other processes. It returns a function that waits for
// the result, until ctx ends or Cut is called.
func (s *Shared) BroadcastRemote(r Remote, data []byte) (wait func(ctx context.Context) error) {
	sent := make(chan error, 1)
	data = bytes.Clone(data) // r may read it after the caller has changed it
	s.Tasks.Go(func() { sent <- r.Broadcast(s.Pool, data) })
	return func(ctx context.Context) error {
		select {
		case err := <-sent:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Over.Done():
			return outcome.ErrClosed
		}
	}
}
