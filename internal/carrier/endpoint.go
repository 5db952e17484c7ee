package carrier

import (
	"context"
	"errors"
	"fmt"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// ErrUnavailable says that this build has none of the modes that a target allows.
var ErrUnavailable = fmt.Errorf("not available in this build: %w", errors.ErrUnsupported)

// Endpoint reaches one target by the first of its modes that there is a dialer for.
type Endpoint struct {
	Target  Target
	Dialers map[Mode]Dialer
}

var _ transport.StreamEndpoint = (*Endpoint)(nil)

// ConnectStream implements transport.StreamEndpoint.
func (e *Endpoint) ConnectStream(ctx context.Context) (transport.StreamConn, error) {
	mode, err := e.Mode()
	if err != nil {
		return nil, err
	}
	return e.Dialers[mode].DialCarrier(ctx, e.Target.URL)
}

// Mode returns the mode in use, or ErrUnavailable.
func (e *Endpoint) Mode() (Mode, error) {
	for _, mode := range e.Target.Modes {
		if _, ok := e.Dialers[mode]; ok {
			return mode, nil
		}
	}
	return 0, &Error{Mode: e.Target.Modes[0], Stage: StageConnect, Err: ErrUnavailable}
}
