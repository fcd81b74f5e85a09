package transport

import "github.com/nulijiabei/gcpool/internal/frame"

// packet is any other connection. It gets one Write a message, for it may be one that makes
// a message of each, as the adapters of WebSocket libraries do.
type packet struct{ raw }

func (p *packet) Send(frames []byte, progress func(n int)) (n int, err error) {
	for n < len(frames) {
		if n > 0 {
			progress(n)
		}
		start, end := frame.Bounds(frames[n:])
		went, err := write(p.conn, frames[n+start:n+end])
		if err != nil {
			return n + min(went, 1), err
		}
		n += end
	}
	return n, nil
}
