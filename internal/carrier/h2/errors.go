package h2

import (
	"errors"
	"fmt"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

// ErrCode says why a stream or a connection ended (RFC 9113, section 7).
type ErrCode uint32

// The codes.
const (
	CodeNo              ErrCode = 0x0
	CodeProtocol        ErrCode = 0x1
	CodeInternal        ErrCode = 0x2
	CodeFlowControl     ErrCode = 0x3
	CodeSettingsTimeout ErrCode = 0x4
	CodeStreamClosed    ErrCode = 0x5
	CodeFrameSize       ErrCode = 0x6
	CodeRefusedStream   ErrCode = 0x7
	CodeCancel          ErrCode = 0x8
	CodeCompression     ErrCode = 0x9
	CodeConnect         ErrCode = 0xa
	CodeEnhanceYourCalm ErrCode = 0xb
	CodeInadequate      ErrCode = 0xc
	CodeHTTP11Required  ErrCode = 0xd
)

func (c ErrCode) String() string {
	names := [...]string{
		"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
		"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
		"ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("code %#x", uint32(c))
}

var (
	// ErrNoConnect says that the server does not take WebSockets on HTTP/2.
	ErrNoConnect = errors.New("server does not announce extended CONNECT (RFC 8441)")
	// ErrNoH2 says that the server does not speak HTTP/2 at all.
	ErrNoH2 = errors.New("server does not speak HTTP/2 (no h2 in ALPN)")
	// ErrPingTimeout says that the connection is dead.
	ErrPingTimeout = errors.New("HTTP/2 server does not answer pings")
	// ErrStalled says that the server talks and does not listen.
	ErrStalled = errors.New("HTTP/2 server does not read what is sent to it")
	// errClosed is why a connection ends that nobody needs any more.
	errClosed = errors.New("HTTP/2 connection closed")
)

// StreamError is a RST_STREAM from the server.
type StreamError struct{ Code ErrCode }

func (e *StreamError) Error() string { return "stream reset by the server: " + e.Code.String() }

// Is makes a refused stream a carrier.ErrRetry (section 8.7).
func (e *StreamError) Is(target error) bool {
	return target == carrier.ErrRetry && e.Code == CodeRefusedStream
}

// GoAwayError is why streams fail that the server's GOAWAY left out.
type GoAwayError struct{ Code ErrCode }

func (e *GoAwayError) Error() string { return "server is going away: " + e.Code.String() }

// retryError makes err a carrier.ErrRetry too: the server did nothing with the stream.
type retryError struct{ err error }

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// Is implements errors.Is.
func (e *retryError) Is(target error) bool { return target == carrier.ErrRetry }

// violation is what the server did against the protocol. It ends a stream or the connection; the code is what
// the server is told.
type violation struct {
	code   ErrCode
	reason string
}

func (e *violation) Error() string { return fmt.Sprintf("HTTP/2 %s: %s", e.code, e.reason) }

func protocolError(reason string) *violation { return &violation{CodeProtocol, reason} }
