package carrier

import (
	"errors"
	"strings"
	"testing"
)

func TestErrorsOfSeveralModesAreOneLine(t *testing.T) {
	first, second := errors.New("first"), &Error{Mode: H2, Stage: StageTLS, Err: ErrPin}
	if err := JoinErrors([]error{first}); err != first { //nolint:errorlint // it is to be the very same
		t.Errorf("one error = %v", err)
	}
	err := JoinErrors([]error{first, second})
	if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "first; h2 tls: ") {
		t.Errorf("text = %q", err)
	}
	if _, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, first) || !errors.Is(err, ErrPin) {
		t.Errorf("%v lost what it is made of", err)
	}
}
