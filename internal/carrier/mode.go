package carrier

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Mode is the version of HTTP that carries the WebSocket.
type Mode uint8

// The modes.
const (
	H1 Mode = iota + 1 // Upgrade on HTTP/1.1 (RFC 6455)
	H2                 // extended CONNECT on HTTP/2 (RFC 8441)
	H3                 // extended CONNECT on HTTP/3 (RFC 9220)
)

// String returns h1, h2 or h3.
func (m Mode) String() string { return "h" + strconv.Itoa(int(m)) }

// Stage is the step of opening a carrier that failed.
type Stage string

// The stages, in their order.
const (
	StageResolve   Stage = "resolve"   // the server's name
	StageConnect   Stage = "connect"   // TCP, or the first packets of QUIC
	StageTLS       Stage = "tls"       // the certificate, the version, the pin
	StageSettings  Stage = "settings"  // HTTP/2 and HTTP/3: does the server take extended CONNECT?
	StageHandshake Stage = "handshake" // the WebSocket's
)

// Error says which mode failed at which stage.
type Error struct {
	Mode  Mode
	Stage Stage
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Mode, e.Stage, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// JoinErrors is errors.Join on one line.
func JoinErrors(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return attemptErrors(errs)
}

// attemptErrors are those of several modes.
type attemptErrors []error

func (e attemptErrors) Error() string {
	causes := make([]string, 0, len(e))
	for _, err := range e {
		causes = append(causes, err.Error())
	}
	return strings.Join(causes, "; ")
}

func (e attemptErrors) Unwrap() []error { return e }

// Dialer opens carriers of one mode.
type Dialer interface {
	// DialCarrier reaches u, whose query is sent as it is, and returns the stream after the WebSocket
	// handshake. Errors are of type *Error. ctx bounds the opening only.
	DialCarrier(ctx context.Context, u *url.URL) (transport.StreamConn, error)
}
