//go:build !linux && !darwin

package socket

func acknowledged(uintptr) Ack { return Ack{Left: -1} }

func leaves(uintptr) bool { return false }

func limitUnsent(uintptr) {}
