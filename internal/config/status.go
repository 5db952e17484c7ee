package config

import (
	"path/filepath"
	"strings"
)

// UnixPrefix begins the address of a listener that is a unix socket; its path follows.
const UnixPrefix = "unix:"

const (
	// maxUnixPath is what every system has room for in the address of a unix socket.
	maxUnixPath = 103
	// minToken keeps a token from being guessed over the network.
	minToken = 16
)

func (d *decoder) statusKeys(s *Status) section {
	return section{
		{"enable", boolean(&s.Enable)},
		{"listen", scalar[string]{&s.Listen, "an address like " + defaultStatus, d.parseStatusListener}},
		{"token", scalar[Secret]{&s.Token, "text", parseToken}},
		{"hosts", oneOrMany[string]{&s.Hosts, "a host name", parseHostName}},
	}
}

// parseStatusListener reads the address of a listener that may be a unix socket; nothing is allowed and means
// none.
func (d *decoder) parseStatusListener(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	path, unix := strings.CutPrefix(s, UnixPrefix)
	if !unix {
		return parseListener(s)
	}
	if path == "" {
		return "", wrong("the path of the unix socket is missing")
	}
	path = d.beside(filepath.FromSlash(path))
	if len(path) > maxUnixPath {
		return "", wrong("the path of the unix socket must be %d bytes or less", maxUnixPath)
	}
	return UnixPrefix + path, nil
}

// parseToken reads a secret that goes into the header of a request, or ${NAME} for that of the environment;
// nothing is allowed and means none.
func parseToken(s string) (Secret, error) {
	s, err := expanded(s)
	if err != nil {
		return Secret{}, err
	}
	odd := func(r rune) bool { return r <= ' ' || r > '~' }
	switch {
	case s == "":
		return Secret{}, nil
	case len(s) < minToken:
		return Secret{}, &mistake{"is too short to be safe", "openssl rand -hex 16 makes a good one"}
	case strings.ContainsFunc(s, odd):
		return Secret{}, wrong("must be ASCII without spaces")
	}
	return NewSecret(s), nil
}

// parseHostName reads a name as browsers send it.
func parseHostName(s string) (string, error) {
	if !isHost(s) {
		return "", wrong("must be a name or an IP address, without a port")
	}
	return strings.ToLower(strings.TrimSuffix(s, ".")), nil
}

// Exposes reports whether other hosts can reach the listener, and there is no token that they need.
func (s *Status) Exposes() bool {
	return s.Token.IsZero() && !strings.HasPrefix(s.Listen, UnixPrefix) && !isLoopback(s.Listen)
}

// validateStatus refuses to show other hosts anything without a token.
func (d *decoder) validateStatus(s *Status) {
	at := d.places["status.listen"]
	switch {
	case !s.Enable || d.failed["status.listen"]:
	case s.Listen == "":
		d.missing(at, "is empty, and status.enable is true")
	case !s.Exposes():
	case !d.failed["status.token"]:
		d.mistake(at, &mistake{
			"other hosts can reach this listener and there is no token",
			"listen on 127.0.0.1, or set status.token",
		})
	}
}
