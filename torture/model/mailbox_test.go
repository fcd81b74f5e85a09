package model

import (
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
)

// stash puts messages of u's queue into the mailbox.
func (p *pool) stash(u *user, now time.Time, all ...*message) {
	for _, m := range all {
		p.letters = append(p.letters, letter{u, m, now.Add(ttl)})
		if m.deliver { // waits no longer
			m.deliver, m.outcome = false, gcpool.ErrKept
		}
	}
	p.trim(now)
}

// trim has the oldest letters give way. Of their users, it is the first message
// that goes.
func (p *pool) trim(now time.Time) {
	for len(p.letters) > 0 && (p.over(nil) || !now.Before(p.letters[0].expires)) {
		p.giveWay(gcpool.ErrExpired)
	}
}

// over reports whether the mailbox is too full, with more or without.
func (p *pool) over(more []*message) bool {
	n := 0
	for _, l := range p.letters {
		n += len(l.message.data)
	}
	for _, m := range more {
		n += len(m.data)
	}
	return n > mailboxBytes
}

// giveWay reports the first message of the user whose letter is the oldest.
func (p *pool) giveWay(reason error) {
	u := p.letters[0].user
	first := u.queue[0]
	u.queue = u.queue[1:]
	p.unstash(first)
	p.fail(u, first, reason)
}

func (p *pool) isLetter(m *message) bool {
	return slices.ContainsFunc(p.letters, func(l letter) bool { return l.message == m })
}

func (p *pool) unstash(m *message) {
	for i, l := range p.letters {
		if l.message == m {
			p.letters = append(p.letters[:i:i], p.letters[i+1:]...)
			return
		}
	}
}
