package ledger

// A Conn is one connection of an id as its peer sees it.
type Conn struct {
	ledger     *Ledger
	id         string
	who        *identity
	generation uint32
	streams    map[uint32]*Stream
}

// Generation numbers the connections of an id, from 1.
func (c *Conn) Generation() uint32 { return c.generation }

// Receive judges one message that came whole, without its newline.
func (c *Conn) Receive(data []byte) {
	m, id, err := decode(data)
	switch {
	case err != nil:
		c.ledger.Breach("%.40q received %.40q: %v", c.id, data, err)
		return
	case string(id) != c.id:
		c.ledger.Breach("%.40q received message %d of producer %d to %.40q", c.id, m.Sequence, m.Producer, id)
		return
	}
	s := c.streams[m.Producer]
	if s == nil {
		s = c.ledger.Stream(m.Producer, c.id)
		c.streams[m.Producer] = s
	}
	if m.Generation > c.generation {
		c.ledger.Breach("%s was sent to connection %d and received on %d", s.name(m.Sequence), m.Generation, c.generation)
	}
	s.receive(m.Sequence, c.generation)
}

// Torn records the part of a message with which the connection ended. If the peer got everything
// that was written, the message must be reported, or come whole on a later connection.
func (c *Conn) Torn(part []byte) {
	m, id, ok := header(part)
	if !ok {
		return // too short to tell which message
	}
	if string(id) != c.id {
		c.ledger.Breach("%.40q received a part of what was sent to %.40q", c.id, id)
		return
	}
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	c.who.torn = append(c.who.torn, tear{m.Producer, m.Sequence, c.generation})
}

// End says that nothing more will come. whole says that the peer got
// every byte that the system took, so no written byte is missing: the
// peer read up to the end of the stream, and did not stop at a reset.
func (c *Conn) End(whole bool) {
	if !whole {
		return
	}
	c.who.mu.Lock()
	defer c.who.mu.Unlock()
	c.who.whole.add(uint64(c.generation))
}
