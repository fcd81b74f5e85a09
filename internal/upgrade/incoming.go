package upgrade

import (
	"errors"
	"net"
	"strings"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// incoming is what the peer sends.
type incoming struct {
	early  string       // bytes that came with the handshake and have not been read
	parser frame.Parser // follows everything that was read
}

// read reads into p, beginning with the early bytes. heard is began if the peer has sent a close
// frame, and silent if it has closed or reset the connection.
func (in *incoming) read(conn net.Conn, p []byte) (n int, heard end, err error) {
	if in.early != "" {
		n = copy(p, in.early)
		in.early = strings.Clone(in.early[n:]) // a copy, so that bytes already read take no memory
	} else {
		err = socket.Guard(func() error {
			n, err = conn.Read(p)
			n = min(max(n, 0), len(p)) // whatever the connection returns
			var timeout net.Error
			if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
				heard = silent
			}
			return err
		})
	}
	for p = p[:n]; len(p) > 0; {
		took, ended := in.parser.Next(p)
		p = p[took:]
		if ended && in.parser.Opcode() == frame.Close {
			heard = max(heard, began)
		}
	}
	return n, heard, err
}
