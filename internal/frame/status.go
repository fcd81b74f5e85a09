package frame

import "encoding/binary"

// A Status is the code and the reason of a close frame (RFC 6455 section 7.4). The zero Status
// means no close frame: the peer would not take one, or has one and does not answer.
type Status struct {
	Code   int
	Reason string
	yields bool // to StatusGoingAway
}

// The statuses that a pool sends on its own account.
var (
	StatusNormal    = Status{Code: 1000, yields: true}
	StatusGoingAway = Status{Code: 1001} // come back
	StatusReplaced  = Status{Code: 4500} // a newer connection took the id: do not come back
)

// Payload returns the payload of s's close frame.
func (s Status) Payload() []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(s.Code)), s.Reason...)
}

// Frame returns s's close frame.
func (s Status) Frame() []byte { return Append(nil, Close, s.Payload(), false) }

// Final returns the status to send instead of s. If the server is going away, StatusNormal
// becomes StatusGoingAway, because it would keep the user away from the next process.
func (s Status) Final(away bool) Status {
	if s.yields && away {
		return StatusGoingAway
	}
	return s
}
