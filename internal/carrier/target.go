package carrier

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Target is where a WebSocket lives and how it may be reached.
type Target struct {
	URL    *url.URL // ws or wss; the flags are cut out of the query and the rest is untouched
	Modes  []Mode   // the modes to try, best first; a single one is strict
	Origin string   // the Origin header; empty sends none
}

// strictPatience is the Patience of a strict target.
const strictPatience = time.Second

// Patience is that of the target's pools. With a single mode a flow has nothing else to try, and need not
// find out anew what the one before it did. With several, others run beside the dial, and it is worth knowing
// whether that works after all.
func (t Target) Patience() time.Duration {
	if len(t.Modes) == 1 {
		return strictPatience
	}
	return 0
}

// String leaves the path out, which is a secret.
func (t Target) String() string { return t.URL.Scheme + "://" + t.URL.Host }

// Which values of which query parameters are flags. The names are those of the RFCs and of the libraries that
// existing configurations took them from.
var (
	offValues  = []string{"0", "false", "no", "off"}
	tryValues  = []string{"1", "true", "yes", "on"}
	onlyValues = []string{"only", "strict"}
	modeNames  = map[string]Mode{
		"h2": H2, "http2": H2, "h2c": H2, "rfc8441": H2,
		"h3": H3, "http3": H3, "quic": H3, "rfc9220": H3,
	}
	onlyNames = map[string]Mode{"h2only": H2, "h3only": H3}
	noH1Names = []string{"connect", "extended_connect", "extended-connect", "connect_protocol"}
)

// flags are what the query of a URL asks for.
type flags struct {
	try, only [H3 + 1]bool
	noH1      bool
	origin    string
}

// ParseTarget parses the URL of a WebSocket: ws or wss (http and https are aliases), a host, and flags in the
// query that say which modes to use. Errors never contain the path or the query.
func ParseTarget(raw string) (Target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return Target{}, fmt.Errorf("not a URL: %w", withoutURL(err))
	}
	switch strings.ToLower(u.Scheme) {
	case "ws", "http":
		u.Scheme = "ws"
	case "wss", "https":
		u.Scheme = "wss"
	case "":
		return Target{}, errors.New("URL without a scheme: start it with wss://")
	default:
		return Target{}, errors.New("unknown URL scheme: use wss or ws")
	}
	if err := checkAddress(u); err != nil {
		return Target{}, err
	}
	var f flags
	u.RawQuery, err = f.cut(u.RawQuery)
	if err != nil {
		return Target{}, err
	}
	u.ForceQuery, u.Fragment, u.RawFragment = false, "", ""
	modes, err := f.modes()
	if err != nil {
		return Target{}, err
	}
	if u.Scheme == "ws" {
		if !slices.Contains(modes, H1) {
			return Target{}, errors.New("HTTP/2 and HTTP/3 need TLS: use wss")
		}
		modes = []Mode{H1}
	}
	return Target{URL: u, Modes: modes, Origin: f.origin}, nil
}

// checkAddress refuses what cannot be dialed or put into a request line.
func checkAddress(u *url.URL) error {
	u.Host = strings.TrimSuffix(u.Host, ":") // the default port, as without a colon
	switch {
	case u.Hostname() == "":
		return errors.New("URL without a host")
	case strings.Contains(u.Hostname(), ":") && u.Host[0] != '[':
		return errors.New("URL with an IPv6 address: it goes into brackets")
	case !isHost(u.Hostname()) || strings.HasSuffix(u.Host, ":"):
		return errors.New("URL whose host is no host name: write an international one in its xn-- form")
	case u.User != nil:
		return errors.New("URL with a user name or password: an Outline server takes none")
	case strings.Contains(u.RawQuery, " "):
		return errors.New("URL with a space in its query: write %20")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("URL with a port that is not from 1 to 65535")
		}
	}
	return nil
}

// isHost reports whether host is an IP address, or can be a name in DNS.
func isHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	})
}

// withoutURL strips the URL, and with it the secret path, from what package url says.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[url.EscapeError](err); ok {
		return errors.New("invalid escape: % must be followed by two hex digits")
	}
	if _, ok := errors.AsType[url.InvalidHostError](err); ok {
		return errors.New("invalid character in the host")
	}
	if strings.Contains(err.Error(), "port") {
		return errors.New("invalid port after the host; an IPv6 address goes into brackets")
	}
	return errors.New("check for spaces, control characters and missing brackets")
}

// cut takes the flags out of a query and returns the rest byte for byte.
func (f *flags) cut(query string) (rest string, err error) {
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		isFlag, err := f.parse(part)
		if err != nil {
			return "", err
		}
		if !isFlag {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&"), nil
}

// parse reports whether one part of a query is a flag and notes what it asks for.
func (f *flags) parse(part string) (isFlag bool, err error) {
	name, value, _ := strings.Cut(part, "=")
	name = strings.ToLower(name)
	if name == "origin" {
		return true, f.setOrigin(value)
	}
	value = strings.ToLower(value)
	if slices.Contains(noH1Names, name) && slices.Contains(onlyValues, value) {
		f.noH1 = true
		return true, nil
	}
	if mode, ok := onlyNames[name]; ok {
		return true, f.setOnly(mode, name, value)
	}
	if mode, ok := modeNames[name]; ok {
		return true, f.setMode(mode, name, value)
	}
	return false, nil
}

// setOnly notes a flag whose name says only already.
func (f *flags) setOnly(mode Mode, name, value string) error {
	if slices.Contains(tryValues, value) || slices.Contains(onlyValues, value) {
		f.only[mode] = true
		return nil
	}
	if slices.Contains(offValues, value) {
		return nil
	}
	return fmt.Errorf("URL flag %s: unknown value: use %s=1", name, name)
}

func (f *flags) setMode(mode Mode, name, value string) error {
	switch {
	case slices.Contains(onlyValues, value):
		f.only[mode] = true
	case slices.Contains(tryValues, value):
		f.try[mode] = true
	case !slices.Contains(offValues, value):
		return fmt.Errorf("URL flag %s: unknown value: use %s=1 or %s=only", name, name, name)
	}
	return nil
}

func (f *flags) setOrigin(escaped string) error {
	value, err := url.QueryUnescape(escaped)
	if err != nil || strings.ContainsFunc(value, unicode.IsControl) {
		return errors.New("URL flag origin: not a valid header value")
	}
	f.origin = value
	return nil
}

// modes returns what the flags allow, best first.
func (f *flags) modes() ([]Mode, error) {
	switch {
	case f.only[H2] && f.only[H3]:
		return nil, errors.New("URL flags: only h2 and only h3 exclude each other")
	case f.only[H2]:
		return []Mode{H2}, nil
	case f.only[H3]:
		return []Mode{H3}, nil
	}
	var modes []Mode
	if f.try[H3] {
		modes = append(modes, H3)
	}
	if f.try[H2] || f.try[H3] || f.noH1 {
		modes = append(modes, H2) // h3 steps down to h2 before h1
	}
	if !f.noH1 {
		modes = append(modes, H1)
	}
	return modes, nil
}
