// Package skew is for package torture to start a node with a wall clock that is wrong.
package skew

import "time"

// Ahead is how far the wall clock of this process seems to be ahead. It is set before Join.
var Ahead time.Duration
