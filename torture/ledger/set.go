package ledger

import (
	"slices"
	"sort"
)

// A set holds sequence numbers as runs, so numbers that come in order take no room.
type set []run

type run struct{ first, last uint64 }

// has reports whether n is in s.
func (s set) has(n uint64) bool {
	i := s.at(n)
	return i < len(s) && s[i].first <= n
}

// at returns the index of the first run that does not end before n.
func (s set) at(n uint64) int {
	if len(s) == 0 || s[len(s)-1].last < n {
		return len(s)
	}
	return sort.Search(len(s), func(i int) bool { return s[i].last >= n })
}

// add adds n, and returns false if it was already there.
func (s *set) add(n uint64) bool {
	i := s.at(n)
	if i < len(*s) && (*s)[i].first <= n {
		return false
	}
	behind := i > 0 && (*s)[i-1].last+1 == n
	before := i < len(*s) && (*s)[i].first == n+1
	switch {
	case behind && before:
		(*s)[i-1].last = (*s)[i].last
		*s = slices.Delete(*s, i, i+1)
	case behind:
		(*s)[i-1].last = n
	case before:
		(*s)[i].first = n
	default:
		*s = slices.Insert(*s, i, run{n, n})
	}
	return true
}

// size returns how many numbers are in s.
func (s set) size() (n uint64) {
	for _, r := range s {
		n += r.last - r.first + 1
	}
	return n
}

// forget removes all numbers up to last.
func (s *set) forget(last uint64) {
	*s = slices.Delete(*s, 0, s.at(last+1))
	if len(*s) > 0 {
		(*s)[0].first = max((*s)[0].first, last+1)
	}
}

// gaps returns the runs of numbers from first to last that are in none of the sets.
func gaps(first, last uint64, sets ...set) []run {
	var all []run
	for _, s := range sets {
		all = append(all, s...)
	}
	slices.SortFunc(all, func(a, b run) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	var left []run
	next := first
	for _, r := range all {
		if r.first > next && next <= last {
			left = append(left, run{next, min(last, r.first-1)})
		}
		next = max(next, r.last+1)
	}
	if next <= last {
		left = append(left, run{next, last})
	}
	return left
}
