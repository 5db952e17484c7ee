package config

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// What the fields that are addresses want.
const (
	wantListener = "an address like 127.0.0.1:1080"
	wantMetrics  = "an address like 127.0.0.1:9100"
	wantTarget   = "host:port, like example.com:80"
	wantServer   = "an IP address, with a port if it is not 53"
	wantIP       = "an IP address"
	wantPin      = "the SHA-256 of a public key in base64 (44 characters) or hex (64 digits)"
)

// ParseListener reads the address of a SOCKS5 listener as the file has it.
func ParseListener(s string) (string, error) { return parseListener(s) }

// parseListener reads the address of a listener. Port 0 is any free port, no host is all addresses.
func parseListener(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if repaired := bracketed(s); repaired != "" {
			return "", &mistake{"an IPv6 address needs brackets before the port", "like [::1]:1080"}
		}
		return "", &mistake{"want " + wantListener, "is the port missing?"}
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return "", wrong("the host must be an IP address, localhost or nothing (= all addresses)")
	}
	n, err := parsePort(port)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

// ParseMetricsListener reads metrics.listen, which the command line may have too; nothing is allowed and
// means nowhere.
func ParseMetricsListener(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return parseListener(s)
}

// Exposes reports whether other hosts can use a listener at that address without a password, and nobody has
// said that they may.
func (l *Listen) Exposes(listener string) bool {
	return !l.AllowOpen && len(l.SOCKS5Users) == 0 && !isLoopback(listener)
}

// isLoopback reports whether a listener is reachable from this host alone.
func isLoopback(listener string) bool {
	host, _, err := net.SplitHostPort(listener)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost"
	}
	return ip.Unmap().IsLoopback()
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, wrong("the port must be a number between 0 and 65535")
	}
	return int(n), nil
}

// parseTarget reads host:port and repairs an IPv6 address without brackets.
func parseTarget(s string) (string, error) {
	if repaired := bracketed(s); repaired != "" {
		s = repaired
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errType
	}
	if !isHost(host) {
		return "", wrong("the host must be a name or an IP address")
	}
	n, err := parsePort(port)
	if err != nil || n == 0 {
		return "", wrong("the port must be a number between 1 and 65535")
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

// bracketed returns [v6]:port for v6:port, and "" for everything else.
func bracketed(s string) string {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 || strings.Count(s, ":") < 2 {
		return ""
	}
	if ip, err := netip.ParseAddr(s[:colon]); err != nil || !ip.Is6() {
		return ""
	}
	return net.JoinHostPort(s[:colon], s[colon+1:])
}

// isHost accepts IP addresses and what can be a host name in the widest sense.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`/:@[]\`, r)
	}
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, odd)
}

// parseHost reads a host name or an IP address; nothing is allowed and means none.
func parseHost(s string) (string, error) {
	if s != "" && !isHost(s) {
		return "", wrong("must be a name or an IP address, without a port")
	}
	return s, nil
}

const dnsPort = 53

// parseServer reads the address of a DNS server.
func parseServer(s string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(ip, dnsPort), nil
	}
	server, err := netip.ParseAddrPort(s)
	if err != nil || server.Port() == 0 {
		return netip.AddrPort{}, errType
	}
	return server, nil
}

// parseAdvertised reads an IP address that clients can send packets to; nothing is allowed and means none.
func parseAdvertised(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, errType
	}
	if ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" {
		return netip.Addr{}, wrong("must be an address that clients can send packets to")
	}
	return ip.Unmap(), nil
}

// schemes are the ways to reach an upstream; http and https are other spellings of ws and wss.
var schemes = []string{"wss", "ws", "https", "http"}

// parseURL checks what can be said of the URL of any upstream. The errors of net/url quote it and are
// dropped.
func parseURL(s string) (URL, error) {
	if s == "" {
		return URL{}, nil
	}
	u, err := url.Parse(s)
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return URL{}, wrong("a URL has no spaces")
	case err != nil:
		return URL{}, wrong("is not a valid URL")
	case u.Scheme == "" || u.Opaque != "":
		return URL{}, &mistake{"want a URL like wss://example.com/path", "does it start with wss://?"}
	case !slices.Contains(schemes, u.Scheme):
		return URL{}, wrong("the URL must start with wss:// or ws://")
	case !isHost(u.Hostname()):
		return URL{}, wrong("the URL needs a host name or an IP address")
	case u.Port() != "":
		if n, err := parsePort(u.Port()); err != nil || n == 0 {
			return URL{}, wrong("the port of the URL must be a number between 1 and 65535")
		}
	}
	return NewURL(s), nil
}

// host returns the host of a URL that parseURL accepted.
func (u URL) host() string {
	parsed, err := url.Parse(u.text)
	if err != nil {
		return ""
	}
	return parsed.Hostname()
}

// maxPrefix bounds the salt prefix. Every byte of it takes one random byte from the salt, so it stays short.
const maxPrefix = 16

// parsePrefix turns every code point of s into one byte.
func parsePrefix(s string) ([]byte, error) {
	prefix := []byte{}
	for _, r := range s {
		if r > 0xFF {
			return nil, wrong("character %d is over U+00FF, so it is not one byte", len(prefix)+1)
		}
		prefix = append(prefix, byte(r))
		if len(prefix) > maxPrefix {
			return nil, wrong("must be %d bytes or less", maxPrefix)
		}
	}
	return prefix, nil
}

// parsePin reads the SHA-256 of a SubjectPublicKeyInfo as curl, OpenSSL and browsers write it.
func parsePin(s string) (pin [sha256.Size]byte, err error) {
	s = strings.TrimPrefix(s, "sha256//")
	raw, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	}
	if err != nil || len(raw) != len(pin) {
		return pin, errType
	}
	return [sha256.Size]byte(raw), nil
}

// maxName bounds the names of upstreams, which become labels of metrics.
const maxName = 64

func parseName(s string) (string, error) {
	switch {
	case s == "":
		return "", &mistake{"must not be empty", "without the key the upstream is named after its host"}
	case len(s) > maxName:
		return "", wrong("must be %d bytes or less", maxName)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", wrong("must not hold control characters")
	case s == ".", s == "..":
		return "", wrong("must not be . or .., which a URL cannot hold")
	}
	return s, nil
}

// maxDevice is Linux's limit for the name of an interface (IFNAMSIZ without the final zero).
const maxDevice = 15

func parseDevice(s string) (string, error) {
	if len(s) > maxDevice || strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r <= ' ' }) {
		return "", wrong("must be at most %d characters without spaces or slashes", maxDevice)
	}
	return s, nil
}
