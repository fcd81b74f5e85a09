// Package fuzz throws arbitrary bytes at gcpool: from peers, as ids and as payloads,
// split anyhow on their way.
//
//	go test -fuzz FuzzPeer ./torture/fuzz
//
// The seeds run with every go test.
package fuzz
