package frame

import "encoding/binary"

// A Status is the code and the reason of a close frame (RFC 6455 section 7.4). The zero
// Status is no frame, for a peer that would not take it, or has one and does not answer.
type Status struct {
	Code   int
	Reason string
}

// The statuses that a pool sends on its own account.
var (
	StatusNormal    = Status{Code: 1000}
	StatusGoingAway = Status{Code: 1001} // come back
	StatusReplaced  = Status{Code: 4500} // a newer connection took the id: do not come back
)

// Payload returns the payload of s's close frame.
func (s Status) Payload() []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(s.Code)), s.Reason...)
}

// Frame returns s's close frame.
func (s Status) Frame() []byte { return Append(nil, Close, s.Payload(), false) }

// Farewell returns the status for a connection that ends without one of its own. Once a pool is shut
// down, StatusNormal would keep the user away from the next process.
func Farewell(shutDown bool) Status {
	if shutDown {
		return StatusGoingAway
	}
	return StatusNormal
}
