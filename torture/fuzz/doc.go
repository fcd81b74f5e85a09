// Package fuzz throws arbitrary bytes at gcpool: from peers, as ids and as payloads,
// split anyhow on their way.
//
//	go test -fuzz FuzzPeer -fuzzminimizetime 10x ./torture/fuzz
//
// Which code runs is chance, where goroutines are; without the limit, go test takes
// most of its time to minimize what only seemed to be new.
//
// The seeds run with every go test.
package fuzz
