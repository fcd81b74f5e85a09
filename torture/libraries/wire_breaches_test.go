package libraries

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestWireForgivesNothing shows that the parser used by all other tests can fail.
func TestWireForgivesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		stream  string
		deflate bool
		breach  bool
	}{
		"a message in fragments around a ping": {"\x01\x01a\x89\x00\x00\x01b\x80\x01c\x88\x02\x03\xe8", false, false},
		"a compressed message":                 {"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", true, false},
		"compressed without being asked":       {"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", false, true},
		"compressed, and no such thing":        {"\xc1\x02ab", true, true},
		"RSV1 in a continuation":               {"\x41\x00\xc0\x00", true, true},
		"RSV1 in a ping":                       {"\xc9\x00", true, true},
		"RSV2":                                 {"\xa1\x00", true, true},
		"a message inside another":             {"\x01\x01a\x81\x01b", false, true},
		"a fragment inside another message":    {"\x01\x01a\x01\x01b", false, true},
		"a continuation of nothing":            {"\x80\x01a", false, true},
		"a continuation behind the end":        {"\x01\x00\x80\x00\x80\x00", false, true},
		"a long ping":                          {"\x89\x7e\x00\x7e" + strings.Repeat("a", 126), false, true},
		"a ping in fragments":                  {"\x09\x00", false, true},
		"a frame with a mask":                  {"\x81\x81\x00\x00\x00\x00a", false, true},
		"an unknown opcode":                    {"\x83\x00", false, true},
		"a length in a longer form":            {"\x81\x7e\x00\x01a", false, true},
		"a message behind the close frame":     {"\x88\x00\x81\x00", false, true},
		"a second close frame":                 {"\x88\x02\x03\xe8\x88\x02\x03\xe8", false, true},
		"a close frame with half a code":       {"\x88\x01\x03", false, true},
		"a close frame with 1006":              {"\x88\x02\x03\xee", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{in: bufio.NewReader(strings.NewReader(c.stream)), deflate: c.deflate}
			_, err := w.next()
			for err == nil {
				_, err = w.next()
			}
			if errors.Is(err, errBreach) != c.breach || !c.breach && err != io.EOF {
				t.Errorf("read with %v", err)
			}
		})
	}
}
