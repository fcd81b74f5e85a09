//go:build !linux && !darwin

package promises

import "errors"

func setWindow(uintptr, int) error { return errors.ErrUnsupported }

func unlimit(uintptr) error { return errors.ErrUnsupported }
