// Package outcome names the possible outcomes of a message, and counts them.
package outcome

import (
	"errors"
	"fmt"
)

// The reasons why a message or a call came to nothing. Package gcpool exports
// and documents them.
var (
	ErrNotConnected = errors.New("gcpool: not connected")
	ErrSlow         = errors.New("gcpool: peer too slow")
	ErrDeleted      = errors.New("gcpool: connection deleted")
	ErrExpired      = errors.New("gcpool: expired in the mailbox")
	ErrClosed       = errors.New("gcpool: pool closed")
	ErrKept         = errors.New("gcpool: not connected, kept in the mailbox")
	ErrTooLarge     = errors.New("gcpool: message larger than the outbox")
)

// More specific reasons. All except ErrCut wrap one of those above.
var (
	ErrMoved    error = reason("gcpool: connected elsewhere") // why a connection was removed: its id is elsewhere now
	ErrReplaced error = reason("gcpool: cut off by a newer connection")
	ErrLeft     error = reason("gcpool: handler returned")
	ErrSilent   error = reason("gcpool: peer silent for two heartbeats")

	ErrCut        = errors.New("gcpool: message cut off; the peer may have it") // for a cluster, which must not send it again
	ErrCrowded    = fmt.Errorf("%w: it made room for newer messages", ErrExpired)
	ErrUnfinished = fmt.Errorf("%w: the application has begun a message and not ended it", ErrSlow)
)

// reason is an ErrNotConnected with a more specific text.
type reason string

func (r reason) Error() string { return string(r) }
func (r reason) Unwrap() error { return ErrNotConnected }

// Each of the reasons has its own counter, under its index. All other errors share one.
var reasons = [...]error{ErrSlow, ErrDeleted, ErrExpired, ErrClosed, ErrNotConnected}

const other = len(reasons)

// Is reports whether err counts as reason. Both must be the pool's own, or come from Ask.
func Is(err, reason error) bool { return class(err) == class(reason) }

// class returns the index of the reason that err wraps.
func class(err error) (i int) {
	if a, ok := err.(*answer); ok {
		return a.class
	}
	for i < len(reasons) && !errors.Is(err, reasons[i]) {
		i++
	}
	return i
}

// An answer is an error of the application whose class is known.
type answer struct {
	error
	class int
}

func (a *answer) Unwrap() error { return a.error }

// Ask finds out what an error of the application wraps. It runs code of the application, so
// it must not be called under a lock; the error that it returns may be counted under a
// lock. An error that panics wraps nothing. For an error that wraps ErrMoved, Ask returns
// ErrMoved.
func Ask(err error) (asked error) {
	switch err {
	case nil, ErrSlow, ErrDeleted, ErrExpired, ErrClosed, ErrNotConnected, ErrMoved:
		return err
	}
	defer func() {
		if recover() != nil {
			asked = &answer{err, other}
		}
	}()
	if errors.Is(err, ErrMoved) {
		return ErrMoved
	}
	return &answer{err, class(err)}
}

// Failure returns the outcome of a message whose connection failed with err, or nil if err is
// nil. It calls Ask.
func Failure(err error) error {
	if err == nil {
		return nil
	}
	return Ask(fmt.Errorf("%w: %w", ErrNotConnected, err))
}
