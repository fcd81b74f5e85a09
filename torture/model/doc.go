// Package model compares gcpool with a simple model. A state machine draws at random what the
// application, its peers and time do. After each step it compares everything that can be seen
// of the library with the model.
//
//	go test -rapid.checks=10000 ./torture/model
//
// A failure is shrunk and written to testdata; later runs replay it.
package model
