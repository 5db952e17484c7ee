package carrier

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestStatusErrorHints(t *testing.T) {
	for code, want := range map[int]string{
		http.StatusNotFound:   "server answered 404 Not Found instead of 200: is the path in the URL right?",
		http.StatusBadGateway: "server answered 502 Bad Gateway instead of 200: the proxy in front works",
		http.StatusForbidden:  "server answered 403 Forbidden instead of 200",
	} {
		if got := (&StatusError{Code: code, Want: 200}).Error(); !strings.HasPrefix(got, want) {
			t.Errorf("StatusError %d = %q, want %q", code, got, want)
		}
	}
}

func TestErrorsNameModeAndStage(t *testing.T) {
	cause := errors.New("refused")
	err := error(&Error{Mode: H2, Stage: StageConnect, Err: cause})
	if got := err.Error(); got != "h2 connect: refused" || !errors.Is(err, cause) {
		t.Errorf("Error() = %q, want h2 connect: refused", got)
	}
	got := []string{H1.String(), H2.String(), H3.String()}
	if !slices.Equal(got, []string{"h1", "h2", "h3"}) {
		t.Errorf("modes = %v", got)
	}
}
