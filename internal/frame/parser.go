package frame

// A Parser follows a stream of frames that comes in pieces, split anywhere. Its zero
// value stands before the first frame.
type Parser struct {
	head [14]byte
	have uint8  // bytes of head so far, 0 between two frames
	open bool   // the message's last frame has not ended
	rest uint64 // bytes of payload still to come, once the header is complete
}

// Next follows b up to the end of the current frame, or to the end of b. It returns how many
// bytes that took, and whether the frame has ended.
func (p *Parser) Next(b []byte) (n int, ended bool) {
	size, _ := sizes(p.head[:])
	for n < len(b) && int(p.have) < size {
		p.head[p.have] = b[n]
		size, p.rest = sizes(p.head[:]) // both are final with the header's last byte
		p.have++
		n++
	}
	if int(p.have) < size {
		return n, false
	}
	step := min(p.rest, uint64(len(b)-n))
	p.rest -= step
	if p.rest > 0 {
		return n + int(step), false
	}
	if !p.Control() {
		p.open = p.head[0]&final == 0
	}
	p.have, p.head[1] = 0, 0 // a header has two bytes until its second byte tells more
	return n + int(step), true
}

// Opcode returns the opcode of the current frame or, between two frames, of the last one.
func (p *Parser) Opcode() byte { return p.head[0] & 0xf }

// Control reports whether the current frame is a control frame (RFC 6455 section 5.5).
func (p *Parser) Control() bool { return p.head[0]&control != 0 }

// Cut reports whether the stream stands inside a data frame, where nothing else may
// pass.
func (p *Parser) Cut() bool { return p.have > 0 && !p.Control() }

// Open reports whether the stream stands inside a message, where only control frames
// may pass (RFC 6455 section 5.4).
func (p *Parser) Open() bool { return p.open || p.Cut() }
