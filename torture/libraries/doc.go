// Package libraries proves that a pool works under every WebSocket library: gorilla,
// coder, gws, gobwas, melody and x/net, each as its own examples use it, under
// [gcpool.Upgrade].
//
// All tests run over TCP on the loopback interface. The client writes its own handshake
// and frames and reads the raw stream with a parser that forgives nothing (wire_test.go),
// so that no library hides what the pool and another library have mixed up. host_test.go
// is the server, and library_test.go the table of libraries that every test goes through.
package libraries
