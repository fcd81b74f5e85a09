// Package torture attacks what gcpool promises: its tests are the faults that a
// server meets, each named for its number, and the expected end of each. The
// ledger judges what became of every message.
//
// The timed faults run on simulated time, over 1,000 seeds each; the name of the
// subtest that fails names the seed and replays it:
//
//	go test -run 'TestFault01PeerStopsReading/seed=17$' .
//
// TORTURE_SEEDS changes how many there are, TORTURE_BASE where they begin.
package torture
