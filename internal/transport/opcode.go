package transport

import (
	"slices"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// Send writes whole frames, as the kind's Send does, with the opcode of l's messages. Their
// bytes are not l's to change, so another opcode takes a copy.
func (l *Link) Send(frames []byte, progress func(n int)) (n int, err error) {
	return l.kind.Send(l.coded(frames), progress)
}

func (l *Link) coded(frames []byte) []byte {
	if !l.recodes {
		return frames
	}
	frames = slices.Clone(frames)
	for i := 0; i < len(frames); {
		frames[i] = frames[i]&^0xf | l.Opcode
		_, end := frame.Bounds(frames[i:])
		i += end
	}
	return frames
}

// Resends reports whether a frame that a failed Send has cut was certainly not received: its
// kind writes to one of Go's own connections, and tells how far it came.
func (l *Link) Resends() bool {
	up := l.upgraded()
	return up != nil && streams(up.Socket())
}
