//go:build !linux && !darwin

package socket

func acknowledged(uintptr) Ack { return Ack{Left: -1} }

func limitUnsent(uintptr) {}
