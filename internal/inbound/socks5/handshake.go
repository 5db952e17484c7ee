package socks5

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

const (
	version     = 5 // RFC 1928
	authVersion = 1 // RFC 1929

	methodNone     = 0x00
	methodPassword = 0x02
	methodRefused  = 0xff

	authSucceeded = 0
	authFailed    = 1

	commandConnect   = 1
	commandAssociate = 3
)

// httpHint answers a browser that takes this port for an HTTP proxy.
const httpHint = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 24\r\n" +
	"Connection: close\r\n\r\nthis is a SOCKS5 proxy.\n"

// errPassword ends a handshake with wrong credentials. It does not say which, not even in the log.
var errPassword = errors.New("wrong user name or password")

// refusal ends a handshake in a way that the client is told about.
type refusal struct {
	answer []byte // nil closes the connection without a reset
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// request is what a client asks for.
type request struct {
	command byte
	target  socksaddr.Addr
}

// negotiate speaks the handshake that begins with head and returns the request, to which nobody has replied
// yet. It reads no byte behind the request, and cannot be made to read more than about a kilobyte. The answer
// that belongs to a *refusal is the caller's to send.
func negotiate(rw io.ReadWriter, head [2]byte, users Users) (request, error) {
	if err := checkVersion(head[0]); err != nil {
		return request{}, err
	}
	method, err := chooseMethod(rw, int(head[1]), users)
	if err != nil {
		return request{}, fmt.Errorf("method selection: %w", err)
	}
	if _, err := rw.Write([]byte{version, method}); err != nil {
		return request{}, fmt.Errorf("method selection: %w", err)
	}
	if method == methodPassword {
		if err := authenticate(rw, users); err != nil {
			return request{}, fmt.Errorf("authentication: %w", err)
		}
	}
	req, err := readRequest(rw)
	if err != nil {
		return request{}, fmt.Errorf("request: %w", err)
	}
	return req, nil
}

// checkVersion recognizes the other protocols that end up at a proxy's port.
func checkVersion(first byte) error {
	switch {
	case first == version:
		return nil
	case 'A' <= first && first <= 'Z':
		return &refusal{[]byte(httpHint), errors.New("the client speaks HTTP, not SOCKS5")}
	case first == 4:
		return &refusal{nil, errors.New("the client speaks SOCKS4, not SOCKS5")}
	}
	return &refusal{nil, fmt.Errorf("the client speaks no SOCKS5: first byte 0x%02x", first)}
}

// chooseMethod reads the n methods that the client offers.
func chooseMethod(r io.Reader, n int, users Users) (byte, error) {
	var buf [255]byte
	methods := buf[:n]
	if err := readFull(r, methods); err != nil {
		return 0, err
	}
	method := byte(methodNone)
	if users.Len() > 0 {
		method = methodPassword
	}
	if !slices.Contains(methods, method) {
		err := fmt.Errorf("the client offers % x, method %02x is needed", methods, method)
		return 0, &refusal{[]byte{version, methodRefused}, err}
	}
	return method, nil
}

// authenticate reads user name and password (RFC 1929, section 2).
func authenticate(rw io.ReadWriter, users Users) error {
	var v [1]byte
	if err := readFull(rw, v[:]); err != nil {
		return err
	}
	if v[0] != authVersion {
		return &refusal{[]byte{authVersion, authFailed}, fmt.Errorf("unknown version %d", v[0])}
	}
	name, err := readCounted(rw)
	if err != nil {
		return err
	}
	password, err := readCounted(rw)
	if err != nil {
		return err
	}
	if !users.admits(name, password) {
		return &refusal{[]byte{authVersion, authFailed}, errPassword}
	}
	_, err = rw.Write([]byte{authVersion, authSucceeded})
	return err
}

// readCounted reads a length byte and as many bytes.
func readCounted(r io.Reader) ([]byte, error) {
	var n [1]byte
	if err := readFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, n[0])
	return b, readFull(r, b)
}

// readRequest reads the request (RFC 1928, section 4). It reads the address even of a command that it
// refuses.
func readRequest(r io.Reader) (request, error) {
	var head [3]byte // version, command, reserved
	if err := readFull(r, head[:]); err != nil {
		return request{}, err
	}
	if head[0] != version {
		return request{}, refuse(replyGeneralFailure, fmt.Errorf("unknown version %d", head[0]))
	}
	target, err := socksaddr.Read(r)
	switch {
	case errors.Is(err, socksaddr.ErrType):
		return request{}, refuse(replyBadAddressType, err)
	case errors.Is(err, socksaddr.ErrDomain):
		return request{}, refuse(replyGeneralFailure, err)
	case errors.Is(err, io.EOF):
		return request{}, io.ErrUnexpectedEOF
	case err != nil:
		return request{}, err
	}
	if command := head[1]; command != commandConnect && command != commandAssociate {
		return request{}, refuse(replyBadCommand, fmt.Errorf("command %d is not supported", command))
	}
	return request{command: head[1], target: target}, nil
}

func refuse(code byte, err error) error {
	return &refusal{makeReply(code, socksaddr.Addr{}), err}
}

// readFull is io.ReadFull for the middle of a handshake, where no end is a clean one.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
