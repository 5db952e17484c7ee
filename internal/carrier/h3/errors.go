package h3

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

var (
	// ErrNoConnect says that the server does not take WebSockets on HTTP/3.
	ErrNoConnect = errors.New("server does not announce extended CONNECT (RFC 9220)")
	// ErrNoH3 says that something answers in QUIC, but not in HTTP/3.
	ErrNoH3 = errors.New("server does not speak HTTP/3 (no h3 in ALPN)")
	// ErrNoAnswer says that no packet came back.
	ErrNoAnswer = errors.New("no answer over UDP: the server has no HTTP/3 there, or something blocks UDP")
	// ErrNobody says that a packet came back: with "port unreachable".
	ErrNobody = errors.New(
		"nothing listens at the server's UDP port: it has no HTTP/3 there, or is not running")
	// ErrGone is why a connection ends whose packets come back like that.
	ErrGone = errors.New("HTTP/3 server is gone: its host says that nothing listens at its UDP port any more")
	// ErrSilent is why a connection ends on which nothing arrives any more.
	ErrSilent = errors.New("HTTP/3 server fell silent")

	// errGoingAway says that the server takes no more streams on a connection at all.
	errGoingAway = &retryError{errors.New("server is going away")}
	// errClosed is why a connection ends that nobody needs any more.
	errClosed = errors.New("HTTP/3 connection closed")
	// errNoResponse is a stream that ends before the response.
	errNoResponse = errors.New("server ended the stream without a response")
	// errWriteAfterEnd is what Write meets after CloseWrite.
	errWriteAfterEnd = errors.New("write after the end of our half")
)

// StreamError is a reset of one stream by the server.
type StreamError struct{ Code http3.ErrCode }

func (e *StreamError) Error() string { return "stream reset by the server: " + e.Code.String() }

// Is makes a rejected request a carrier.ErrRetry (RFC 9114, section 4.1.1).
func (e *StreamError) Is(target error) bool {
	return target == carrier.ErrRetry && e.Code == http3.ErrCodeRequestRejected
}

// ConnError says that the QUIC connection ended below its streams. It has no Unwrap: quic-go's errors are all
// net.ErrClosed, which to our callers means that they closed the stream themselves, and some are timeouts,
// which mean a deadline.
type ConnError struct {
	Err error // quic-go's, ErrSilent or ErrGone
}

func (e *ConnError) Error() string { return fmt.Sprintf("QUIC connection lost: %v", e.Err) }

// retryError makes err a carrier.ErrRetry too: nothing was done with the stream.
type retryError struct{ err error }

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// Is implements errors.Is.
func (e *retryError) Is(target error) bool { return target == carrier.ErrRetry }

// tlsError marks a failure that belongs to TLS.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// explain says what the failure of a QUIC handshake means.
func explain(err error) error {
	if e, ok := errors.AsType[*quic.TransportError](err); ok && e.ErrorCode.IsCryptoError() {
		return &tlsError{tlsCause(e)}
	}
	_, idle := errors.AsType[*quic.IdleTimeoutError](err)
	_, slow := errors.AsType[*quic.HandshakeTimeoutError](err)
	if idle || slow {
		return ErrNoAnswer
	}
	return hideClosed(err)
}

// hideClosed makes a ConnError of what quic-go says when a connection ended.
func hideClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return &ConnError{err}
	}
	return err
}

// tlsCause is what crypto/tls said, or the server's alert (RFC 9001, section 4.8).
func tlsCause(e *quic.TransportError) error {
	const (
		firstAlert            = 0x100
		noApplicationProtocol = tls.AlertError(120) // RFC 7301, section 3.2
	)
	alert := tls.AlertError(e.ErrorCode - firstAlert)
	if alert == noApplicationProtocol {
		return ErrNoH3
	}
	for _, cause := range e.Unwrap() {
		if cause != nil && cause != net.ErrClosed { //nolint:errorlint // the very one that every error has
			return cause
		}
	}
	return alert
}
