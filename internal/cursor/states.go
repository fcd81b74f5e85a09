package cursor

// turn is the state of a cursor's turn to write.
//
//	idle    -> queued   there is something to write, and the cursor is put in line
//	idle    -> writing  Add itself writes
//	queued  -> writing  a writer takes it; or a batch leaves for another process
//	queued  -> stalled  its own writer, which was replaced, makes the next write
//	queued  -> idle     nothing is left to write
//	writing -> stalled  the write has taken a tick, and the writer was replaced; never for a batch
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
//	open    -> goodbye  Shutdown's close frame is due or sent; the peer should close
//	open    -> closing  the connection was removed or replaced; a write under way may end first
//	goodbye -> closing  the same
//	closing -> closed   the transport was told to close it
type life uint8

const (
	open life = iota
	goodbye
	closing
	closed
)
