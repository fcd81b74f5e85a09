// Package torture attacks gcpool's promises. Each test has a numbered fault that a server may
// meet, and the result that we expect. The ledger judges the outcome of every message.
//
// The timed faults run in simulated time, over 1,000 seeds each. The name of a failing subtest
// contains its seed, and replays it:
//
//	go test -run 'TestFault01PeerStopsReading/seed=17$' .
//
// TORTURE_SEEDS sets the number of seeds, and TORTURE_BASE the first seed.
package torture
