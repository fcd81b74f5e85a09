package del

import (
	"fmt"
	"strings"
	"testing"
)

// TestOrders plays each order with each kind whose handlers remove their own connection.
func TestOrders(t *testing.T) {
	for _, k := range kinds {
		play(t, k, orders)
	}
}

// orders is the table of package del, row by row.
var orders = map[string]string{
	"its own Del, once and twice": `
		1 connects: 1
		1 leaves: 1
		1 dels: nobody
		1 dels: nobody
		1 returns: nobody`,
	"its own Del while it reads, and once more": `
		1 connects: 1
		1 logs out: nobody
		1 dels: nobody
		2 connects: 2
		1 dels: 2
		2 logs out: nobody`,
	"an old handler's Del, once": `
		1 connects: 1
		2 connects: 2
		1 dels: 2
		1 returns: 2
		2 leaves: 2
		2 dels: nobody`,
	"an old handler's Del, twice": `
		1 connects: 1
		2 connects: 2
		1 dels: 2
		1 dels: 2
		2 logs out: nobody`,
	"an old handler's Del after its successor's": `
		1 connects: 1
		2 connects: 2
		2 leaves: 2
		2 dels: nobody
		1 dels: nobody
		3 connects: 3
		1 dels: 3
		2 dels: 3
		3 logs out: nobody`,
	"away and back, then the old handler's Del": `
		1 connects: 1
		admin kicks: nobody
		2 connects: 2
		1 dels: 2
		1 dels: 2
		2 leaves: 2
		2 dels: nobody`,
	"away and back after its own Del, then another": `
		1 connects: 1
		1 leaves: 1
		1 dels: nobody
		2 connects: 2
		1 dels: 2
		1 returns: 2
		2 logs out: nobody`,
	"back twice": `
		1 connects: 1
		admin kicks: nobody
		2 connects: 2
		2 leaves: 2
		2 dels: nobody
		3 connects: 3
		1 dels: 3
		2 dels: 3
		1 dels: 3
		3 logs out: nobody`,
	"the peer has left when it is replaced": `
		1 connects: 1
		1 leaves: 1
		2 connects: 2
		1 dels: 2
		2 logs out: nobody`,
	"four in a row, in any order": `
		1 connects: 1
		2 connects: 2
		3 connects: 3
		4 connects: 4
		2 dels: 4
		1 dels: 4
		3 dels: 4
		1 dels: 4
		4 leaves: 4
		4 dels: nobody
		3 dels: nobody`,
	"an administrator's Del": `
		1 connects: 1
		admin dels: nobody
		admin dels: nobody
		2 connects: 2
		1 dels: 2
		admin dels: nobody
		1 dels: nobody
		2 dels: nobody`,
	"an administrator's Del when the old handlers have ended": `
		1 connects: 1
		2 connects: 2
		1 dels: 2
		1 returns: 2
		admin dels: nobody
		2 returns: nobody
		3 connects: 3
		admin dels: nobody`,
	"an administrator's Del when an old handler has returned without": `
		1 connects: 1
		2 connects: 2
		1 returns: 2
		admin dels: nobody
		3 connects: 3
		2 dels: 3
		admin dels: nobody`,
	"an administrator's Del while an old handler tidies up": `
		1 connects: 1
		2 connects: 2
		admin dels: nobody
		3 connects: 3
		1 dels: 3
		1 dels: 3
		2 dels: 3
		3 logs out: nobody`,
	"an administrator's Kick while an old handler tidies up": `
		1 connects: 1
		2 connects: 2
		admin kicks: nobody
		1 dels: nobody
		3 connects: 3
		1 dels: 3
		2 dels: 3
		admin kicks: nobody
		admin kicks: nobody`,
	"an administrator's DelConn while an old handler tidies up": `
		1 connects: 1
		2 connects: 2
		admin delconns 1: 2
		admin delconns 2: nobody
		3 connects: 3
		admin delconns 2: 3
		2 dels: 3
		1 dels: 3
		admin delconns 3: nobody`,
	"an administrator's Del of an id that is away": `
		1 connects: 1
		admin kicks: nobody
		admin dels: nobody
		2 connects: 2
		1 dels: 2
		admin dels: nobody
		3 connects: 3
		1 dels: 3
		2 dels: 3
		3 logs out: nobody`,
	"an administrator's Del after his Add of the same connection": `
		1 connects: 1
		admin adds 1: 1
		2 connects: 2
		1 dels: 2
		admin dels: nobody`,
	"a handler's DelConn": `
		1 connects: 1
		2 connects: 2
		1 delconns: 2
		1 dels: 2
		2 leaves: 2
		2 delconns: nobody
		3 connects: 3
		2 dels: 3
		2 delconns: 3
		3 logs out: nobody`,
	"an old handler's Kick": `
		1 connects: 1
		2 connects: 2
		1 kicks: nobody
		3 connects: 3
		2 kicks: nobody
		1 dels: nobody
		4 connects: 4
		1 dels: 4
		2 dels: 4
		3 dels: 4`,
	"an old handler's Del beside a takeover": `
		1 connects: 1
		1 leaves: 1
		1 dels & 2 connects: 2
		2 leaves: 2
		3 connects & 2 dels & 1 dels: 3
		3 logs out: nobody`,
	"an administrator beside an old handler's Del": `
		1 connects: 1
		2 connects: 2
		admin dels & 1 dels: nobody
		3 connects: 3
		admin kicks & 1 dels & 2 dels: nobody
		4 connects: 4
		1 dels & 2 dels & 3 dels: 4`,
	"the first hangs while twenty come and go": "1 connects: 1\n" + visits(2, 21, "%d connects: %[1]d\n%[1]d leaves: %[1]d\n%[1]d dels: nobody\n") + `
		22 connects: 22
		1 dels: 22
		1 dels: 22
		21 dels: 22
		22 logs out: nobody`,
	"the first hangs while twenty take over": "1 connects: 1\n2 connects: 2\n" + visits(3, 21, "%d connects: %[1]d\n%[2]d dels: %[1]d\n") + `
		1 dels: 21
		1 dels: 21
		21 leaves: 21
		21 dels: nobody`,
	"all hang": visits(1, 10, "%d connects: %[1]d\n") + visits(1, 9, "%d dels: 10\n") + `
		10 logs out: nobody`,
}

// visits formats steps for connections first to last, each with the one before it.
func visits(first, last int, steps string) string {
	var b strings.Builder
	for n := first; n <= last; n++ {
		fmt.Fprintf(&b, strings.ReplaceAll(steps, "%d", "%[1]d"), n, n-1)
	}
	return b.String()
}
