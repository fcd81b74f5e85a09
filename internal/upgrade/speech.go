package upgrade

import (
	"bytes"
	"errors"
	"slices"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// phase is the kind of bytes that the library writes.
//
//	response -> frames   after a response with status 101
//	response -> other    after any other response, or bytes that are not HTTP; they pass unchanged
type phase uint8

const (
	response phase = iota
	frames
	other
)

const (
	// responseMost is how many bytes the head of a 101 response may have.
	responseMost = 64 << 10
	// controlMost is the longest control frame of a server (RFC 6455 section 5.5).
	controlMost = 2 + 125
)

var errControl = errors.New("gcpool: control frame with more than 125 bytes of payload")

// speech follows what the library writes, however it is split.
type speech struct {
	phase  phase
	parser frame.Parser // of frames
	part   []byte       // the response or the control frame so far
}

// data returns how many bytes of p to write in one write: up to the end of the response, or up to
// the first control frame. 0 means that p begins inside a control frame.
func (s *speech) data(p []byte) (n int) {
	const end = "\r\n\r\n"
	switch s.phase {
	case frames:
		for follow := s.parser; n < len(p); {
			m, _ := follow.Next(p[n:])
			if follow.Control() {
				break
			}
			n += m
		}
		return n
	case response:
		head := slices.Concat(s.part, p)
		if i := bytes.Index(head, []byte(end)); i >= 0 {
			return i + len(end) - len(s.part)
		}
	}
	return len(p)
}

// wrote notes that p was written. p contains no control frame.
func (s *speech) wrote(p []byte) {
	switch s.phase {
	case frames:
		for len(p) > 0 {
			n, _ := s.parser.Next(p)
			p = p[n:]
		}
	case response:
		s.part = append(s.part, p...)
		if refuses(s.part) {
			s.phase, s.part = other, nil
		} else if bytes.HasSuffix(s.part, []byte("\r\n\r\n")) {
			s.phase, s.part = frames, nil
		}
	}
}

// refuses reports whether head is not the beginning of a 101 response.
func refuses(head []byte) bool {
	const status = len("HTTP/1.1 ")
	return len(head) > responseMost || len(head) >= status+3 && string(head[status:status+3]) != "101"
}

// control takes bytes of a control frame from p, and returns the frame once it is complete.
func (s *speech) control(p []byte) (n int, whole []byte, err error) {
	n, ended := s.parser.Next(p)
	if s.part = append(s.part, p[:n]...); len(s.part) > controlMost {
		return 0, nil, errControl
	}
	if ended {
		whole, s.part = s.part, nil
	}
	return n, whole, nil
}

// betweenFrames reports whether a control frame may be written now.
func (s *speech) betweenFrames() bool { return s.phase == frames && !s.parser.Cut() }

// betweenMessages reports whether a pool's data may be written now.
func (s *speech) betweenMessages() bool { return s.phase == frames && !s.parser.Open() }
