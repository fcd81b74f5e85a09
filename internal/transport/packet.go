package transport

import (
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// packet is any other connection. It gets one Write a message, for it may be one that makes
// a message of each, as the adapters of WebSocket libraries do.
type packet struct{ raw }

func (p *packet) Send(frames []byte, progress func(n int)) (n int, err error) {
	return sendEach(frames, progress, func(_ byte, payload []byte) (int, error) {
		return socket.Write(p.conn, payload)
	})
}

// sendEach sends one message after the other. send returns how much of an error's went.
func sendEach(frames []byte, progress func(n int), send func(op byte, payload []byte) (int, error)) (n int, err error) {
	for n < len(frames) {
		if n > 0 {
			progress(n)
		}
		start, end := frame.Bounds(frames[n:])
		if went, err := send(frames[n]&0xf, frames[n+start:n+end]); err != nil {
			return n + min(went, 1), err
		}
		n += end
	}
	return n, nil
}
