package model

import (
	"fmt"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
)

// keep puts messages of u's queue into the mailbox.
func (p *pool) keep(u *user, now time.Time, all ...*message) {
	for _, m := range all {
		p.mail = append(p.mail, mailed{u, m, now.Add(ttl)})
		if m.deliver { // Deliver stops waiting
			m.deliver, m.outcome = false, gcpool.ErrKept
		}
	}
	p.trim(now)
}

// trim makes the oldest mail give way. The message that goes is the
// first one of the user who has the oldest mail.
func (p *pool) trim(now time.Time) {
	for len(p.mail) > 0 {
		switch {
		case p.over(nil):
			p.giveWay(errCrowded)
		case !now.Before(p.mail[0].expires):
			p.giveWay(gcpool.ErrExpired)
		default:
			return
		}
	}
}

// errCrowded is the outcome of mail that has made room.
var errCrowded = fmt.Errorf("%w: it made room for newer messages", gcpool.ErrExpired)

// over reports whether the mailbox, together with more, is too full.
func (p *pool) over(more []*message) bool {
	n := 0
	for _, l := range p.mail {
		n += len(l.message.data)
	}
	for _, m := range more {
		n += len(m.data)
	}
	return n > mailboxBytes
}

// giveWay reports the first message of the user with the oldest message in the mailbox.
func (p *pool) giveWay(reason error) {
	u := p.mail[0].user
	first := u.queue[0]
	u.queue = u.queue[1:]
	p.forget(first)
	p.fail(u, first, reason)
}

func (p *pool) isMail(m *message) bool {
	return slices.ContainsFunc(p.mail, func(l mailed) bool { return l.message == m })
}

func (p *pool) forget(m *message) {
	for i, l := range p.mail {
		if l.message == m {
			p.mail = append(p.mail[:i:i], p.mail[i+1:]...)
			return
		}
	}
}
