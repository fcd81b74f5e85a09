//go:build !linux && !darwin

package transport

func acknowledged(uintptr) (left int, acked uint64) { return -1, 0 }

func limitUnsent(uintptr) {}
