package dialer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// Error says why no connection to a target came about.
type Error struct {
	Addr     string    // as the caller wrote it
	Attempts []Attempt // addresses that were tried, in that order
	// Err is what stopped it besides the attempts: a *net.DNSError when a lookup failed, a *MarkError, the
	// context's error, or nil.
	Err error
}

// Attempt is one address that could not be connected to.
type Attempt struct {
	Addr netip.AddrPort
	Err  error
}

// Error lists every address with its cause, without what package net repeats in each.
func (e *Error) Error() string {
	if len(e.Attempts) == 1 && e.Err == nil && e.Attempts[0].Addr.String() == e.Addr {
		return fmt.Sprintf("connect %s: %v", e.Addr, cause(e.Attempts[0].Err))
	}
	causes := make([]string, 0, len(e.Attempts)+1)
	for _, a := range e.Attempts {
		causes = append(causes, fmt.Sprintf("%s: %v", a.Addr, cause(a.Err)))
	}
	if e.Err != nil {
		causes = append(causes, e.Err.Error())
	}
	return fmt.Sprintf("connect %s: %s", e.Addr, strings.Join(causes, "; "))
}

// Unwrap returns the errors of the attempts. When there was none, it returns Err; behind attempts Err is text
// only, so that a refused connection whose other family could not be looked up counts as refused.
func (e *Error) Unwrap() []error {
	if len(e.Attempts) == 0 {
		return []error{e.Err}
	}
	errs := make([]error, 0, len(e.Attempts))
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// cause takes off "dial tcp address:" and the name of the system call.
func cause(err error) error {
	if op, ok := err.(*net.OpError); ok && op.Err != nil { //nolint:errorlint // only the outermost is peeled
		err = op.Err
	}
	if call, ok := err.(*os.SyscallError); ok { //nolint:errorlint // only the outermost is peeled
		err = call.Err
	}
	return err
}

// MarkError says that the firewall mark could not be put on a socket, which was closed unused.
type MarkError struct {
	Mark uint32
	Err  error // the errno, or errors.ErrUnsupported where there are no marks
}

// Error names the way out.
func (e *MarkError) Error() string {
	text := fmt.Sprintf("apply fwmark %d: %v", e.Mark, e.Err)
	switch {
	case errors.Is(e.Err, os.ErrPermission):
		text += ": run as root or grant CAP_NET_ADMIN (setcap cap_net_admin+ep ./outline-cli-ws)"
	case errors.Is(e.Err, errors.ErrUnsupported):
		text += ": marks exist on Linux only, set fwmark to 0"
	}
	return text
}

// Unwrap returns the cause.
func (e *MarkError) Unwrap() error { return e.Err }

// markError returns the MarkError in err, if there is one.
func markError(err error) (*MarkError, bool) { return errors.AsType[*MarkError](err) }

// isMark reports whether a mark could not be applied, which no other address or server can mend.
func isMark(err error) bool {
	_, ok := markError(err)
	return ok
}

// isNoNetwork reports whether nothing was tried, for want of a network.
func isNoNetwork(err error) bool { return errors.Is(err, transport.ErrNoNetwork) }

// explainZone says so when the zone of an address names no interface, which the kernel calls an invalid
// argument.
func explainZone(ip netip.Addr, err error) error {
	if ip.Zone() == "" || !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return fmt.Errorf("no network interface %q: %w", ip.Zone(), err)
}

// isNotFound reports whether a server said that there is no such name or no address of the family.
func isNotFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// graver returns the error of two lookups that says more: an answer that did not come leaves open what "no
// such host" would settle.
func graver(a, b error) error {
	if a == nil || isMark(b) || isNotFound(a) && b != nil {
		return b
	}
	return a
}
