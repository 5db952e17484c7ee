package carrier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
)

// sessionsPerUpstream bounds the TLS sessions that are kept for resumption.
const sessionsPerUpstream = 32

// ErrPin says that no certificate of the server has a pinned key.
var ErrPin = errors.New("no certificate of the server matches tls.pin_sha256")

// Pin is the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469, section 2.4).
type Pin [sha256.Size]byte

// TLSOptions are what the user says about the certificates of one upstream. The zero value verifies against
// the system's authorities and the URL's host.
type TLSOptions struct {
	RootCAs    *x509.CertPool // nil: the system's
	ServerName string         // empty: the URL's host
	Pins       []Pin          // checked in addition to the chain; empty: none
	Sessions   tls.ClientSessionCache
	// Verified is told of the server's own certificate at every handshake that it passed; nil: nobody is.
	Verified func(*x509.Certificate)
}

// NewSessions returns a cache for the carriers of one upstream to share.
func NewSessions() tls.ClientSessionCache { return tls.NewLRUClientSessionCache(sessionsPerUpstream) }

// Config returns the TLS configuration of one carrier with the protocols it speaks. ServerName is set for
// every dial by WithHost.
func (o TLSOptions) Config(protocols ...string) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            o.RootCAs,
		ServerName:         o.ServerName,
		NextProtos:         protocols,
		ClientSessionCache: o.Sessions,
		// The first records of a connection would be small, to help browsers paint; we want one frame in one
		// record.
		DynamicRecordSizingDisabled: true,
	}
	if len(o.Pins) > 0 || o.Verified != nil {
		o.Pins = slices.Clone(o.Pins)
		c.VerifyConnection = o.verify
	}
	return c
}

// verify looks at a handshake, on resumed connections too, after the chain was verified.
func (o TLSOptions) verify(s tls.ConnectionState) error {
	if len(o.Pins) > 0 {
		if err := checkPins(o.Pins, s); err != nil {
			return err
		}
	}
	if o.Verified != nil && len(s.PeerCertificates) > 0 {
		o.Verified(s.PeerCertificates[0])
	}
	return nil
}

// WithHost returns c for a server of that name, unless the user named another.
func WithHost(c *tls.Config, host string) *tls.Config {
	if c.ServerName != "" {
		return c
	}
	c = c.Clone()
	c.ServerName = host
	return c
}

// checkPins looks for a pinned key among the verified certificates, on resumed connections too.
func checkPins(pins []Pin, s tls.ConnectionState) error {
	for _, chain := range s.VerifiedChains {
		for _, cert := range chain {
			sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
			if slices.ContainsFunc(pins, func(p Pin) bool { return bytes.Equal(p[:], sum[:]) }) {
				return nil
			}
		}
	}
	return ErrPin
}

// LogTLS logs what a TLS handshake agreed on, at level debug. log may be nil.
func LogTLS(ctx context.Context, log *slog.Logger, mode Mode, s tls.ConnectionState) {
	if log == nil || !log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	log.DebugContext(ctx, "tls handshake", "carrier", mode.String(), "version", tls.VersionName(s.Version),
		"suite", tls.CipherSuiteName(s.CipherSuite), "alpn", s.NegotiatedProtocol, "resumed", s.DidResume)
}

// DialError wraps the failure of a dial to the server with the stage it belongs to.
func DialError(mode Mode, err error) error {
	stage := StageConnect
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		stage = StageResolve
	}
	return &Error{Mode: mode, Stage: stage, Err: err}
}

// TLSError wraps the failure of a TLS handshake, with a hint where the user can do something.
func TLSError(mode Mode, err error) error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		err = fmt.Errorf("%w (is this machine's clock right?)", err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		err = fmt.Errorf("%w (a private authority goes into tls.ca_file)", err)
	}
	return &Error{Mode: mode, Stage: StageTLS, Err: err}
}
