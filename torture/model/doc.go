// Package model holds gcpool against a plain model of it: a state machine draws
// what an application, its peers and time do, and after each step compares what
// can be seen of the library with what the model says.
//
//	go test -rapid.checks=10000 ./torture/model
//
// A failure is shrunk, and written to testdata, from where it is replayed.
package model
