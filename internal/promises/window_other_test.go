//go:build !unix

package promises

import "errors"

func setWindow(uintptr, int) error { return errors.ErrUnsupported }
