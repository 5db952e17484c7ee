package dialer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

var (
	errNoHost   = errors.New("no host")
	errNoPort   = errors.New("no port, want host:port")
	errBadPort  = errors.New("the port must be a number from 1 to 65535")
	errBrackets = errors.New("want host:port, an IPv6 address in brackets, as in [2001:db8::1]:443")
)

// target is what a caller wants to reach.
type target struct {
	host string     // a name, in lower case, or ""
	ip   netip.Addr // valid when the host is an IP address
	port uint16
}

// parseTarget reads "host:port"; an IPv6 host stands in brackets and may have a zone.
func parseTarget(addr string) (target, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return target{}, fmt.Errorf("address %q: %w", addr, splitCause(addr, err))
	}
	if host == "" {
		return target{}, fmt.Errorf("address %q: %w", addr, errNoHost)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return target{}, fmt.Errorf("address %q: %w", addr, errBadPort)
	}
	t := parseHost(host)
	t.port = uint16(port)
	return t, nil
}

// parseHost tells a name from an IP address.
func parseHost(host string) target {
	if ip, err := netip.ParseAddr(host); err == nil {
		return target{ip: ip.Unmap()}
	}
	return target{host: strings.ToLower(host)}
}

// splitCause says what net.SplitHostPort met in words that tell what to change.
func splitCause(addr string, err error) error {
	if strings.Count(addr, ":") > 1 && !strings.Contains(addr, "[") {
		return errBrackets
	}
	if !strings.Contains(addr, ":") || strings.HasSuffix(addr, "]") {
		return errNoPort
	}
	if addrErr, ok := errors.AsType[*net.AddrError](err); ok {
		return errors.New(addrErr.Err)
	}
	return err
}
