//go:build !linux && !darwin

package wire

func unacknowledged(uintptr) int { return -1 }

func limitUnsent(uintptr) {}
