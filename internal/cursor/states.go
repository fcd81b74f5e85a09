package cursor

// turn is the state of a cursor's turn to write.
//
//	idle    -> queued   something is to be written, and the cursor is put in line
//	idle    -> writing  Add itself writes
//	queued  -> writing  a writer takes it; or a batch leaves for another process
//	queued  -> stalled  its own writer, which was replaced, goes on with it
//	queued  -> idle     nothing is left to write
//	writing -> stalled  the write has taken a tick, and the writer was replaced; not a batch
//	writing -> queued   the write has ended, or was given up, and more waits
//	writing -> idle     the same, and nothing waits
//	stalled -> queued   as from writing
//	stalled -> idle     as from writing
type turn uint8

const (
	idle turn = iota
	queued
	writing
	stalled
)

// life is how far a connection is from its end.
//
//	open    -> goodbye  Shutdown's close frame is due, or out; the peer is to close
//	open    -> closing  the connection was removed or replaced; a write may end first
//	goodbye -> closing  the same
//	closing -> closed   the transport was told to close it
type life uint8

const (
	open life = iota
	goodbye
	closing
	closed
)
