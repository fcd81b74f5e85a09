//go:build race

package libraries

const raceEnabled = true
