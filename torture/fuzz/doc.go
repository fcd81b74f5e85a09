// Package fuzz throws arbitrary bytes at gcpool: from peers, as ids and as payloads,
// split anywhere on their way.
//
//	go test -fuzz FuzzPeer -fuzzminimizetime 10x ./torture/fuzz
//
// Keep the limit on minimizing. With goroutines, chance decides which code runs, so much
// input only seems to be new, and without the limit go test spends most of its time on
// minimizing it.
//
// The seeds run with every go test.
package fuzz
