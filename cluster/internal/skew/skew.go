// Package skew lets package torture start a node whose wall clock is wrong.
package skew

import "time"

// Ahead is how far the wall clock of this process seems to be ahead. Set it before Join.
var Ahead time.Duration
