// Package fuzz throws arbitrary bytes at gcpool: from peers, as ids and as payloads, split
// anywhere on their way.
//
//	go test -fuzz FuzzPeer -fuzzminimizetime 10x ./torture/fuzz
//
// Keep the limit on minimizing. Which code runs depends on how goroutines are scheduled, so
// many inputs only seem to be new, and without the limit go test spends most of its time
// minimizing them.
//
// The seeds run with every go test.
package fuzz
