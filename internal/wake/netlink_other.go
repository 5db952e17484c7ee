//go:build !linux

package wake

import "errors"

func openNews() (news, error) { return nil, errors.ErrUnsupported }
