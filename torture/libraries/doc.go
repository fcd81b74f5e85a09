// Package libraries tests that a pool works with every WebSocket library: gorilla, coder, gws,
// gobwas, melody and x/net, each used as in its own examples, under [gcpool.Upgrade].
//
// All tests run over TCP on the loopback interface. The client writes its own handshake and
// frames, and reads the raw stream with a parser that forgives nothing (wire_test.go), so that
// no library hides what the pool and another library have mixed up. host_test.go is the server,
// and library_test.go has the table of libraries that every test goes through.
package libraries
