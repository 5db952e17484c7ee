//go:build !linux

package dialer

import "errors"

// setMark fails: other systems have no such mark, and traffic without it would take a wrong way.
func setMark(uintptr, uint32) error { return errors.ErrUnsupported }
