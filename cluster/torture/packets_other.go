//go:build unix && !linux

package main

import (
	"errors"
	"time"
)

const farHost = "127.0.0.1"

func inNamespace() error { return errors.New("-packets needs Linux") }

type packets struct{ port int }

func (packets) address() string                          { return "" }
func (packets) during(time.Duration, ...condition) error { return nil }
func (packets) end()                                     {}
