// Package del tests whom [gcpool.ConnPool.Del], DelConn and Kick remove, whoever calls
// them and in whatever order, the way that libraries and applications do. Each test plays
// an order of steps with connections over loopback; net.Pipe's are in memory.
//
//	who calls                                    its connection is  what happens
//	a handler, or a goroutine that it started    the id's           it is removed at once
//	the same, once, twice, however late          another's by now   nothing
//	anybody, by Kick; by DelConn of it           the id's           it is removed at once
//	a stranger, by Del                           -                  what the id has is removed
//	a handler returns without Del                the id's           it is removed at the next heartbeat
//
// A hub, one goroutine that adds and removes for everybody, is nobody's handler: its Del
// removes what the id has, so it has to use DelConn.
package del
