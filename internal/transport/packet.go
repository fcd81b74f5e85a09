package transport

import "github.com/nulijiabei/gcpool/internal/socket"

// packet is any other connection. Each message is one Write, because the connection may turn each
// Write into a message, as the adapters of WebSocket libraries do.
type packet struct{ raw }

func (p *packet) Send(frames []byte, progress func(n int)) (n int, err error) {
	return sendEach(frames, progress, func(_ byte, payload []byte) (int, error) {
		return socket.Write(p.conn, payload)
	})
}
