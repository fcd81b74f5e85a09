// Package del tests which connection [gcpool.ConnPool.Del], DelConn and Kick remove, whoever
// calls them and in whatever order, as libraries and applications do. Each test plays one order
// of steps, with connections over loopback, or in memory with net.Pipe.
//
//	who calls                                    its connection is  what happens
//	a handler, or a goroutine that it started    the id's           it is removed at once
//	the same, once or twice, however late        replaced by now    nothing
//	anyone, by Kick or by DelConn of it          the id's           it is removed at once
//	a stranger, by Del                           -                  the id's connection is removed
//	a handler returns without Del                the id's           it is removed at the next heartbeat
//
// A hub is one goroutine that adds and removes connections for all users, so it is not the
// handler of any. Its Del removes whatever connection the id has, so it must use DelConn.
package del
