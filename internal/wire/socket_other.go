//go:build !linux && !darwin

package wire

func acknowledged(uintptr) (left int, acked uint64) { return -1, 0 }

func limitUnsent(uintptr) {}
