package status

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard decides who may see and who may change.
type guard struct {
	token *[sha256.Size]byte // its hash; nil: there is none
	hosts []string
}

func newGuard(token string, hosts []string) guard {
	g := guard{hosts: hosts}
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		g.token = &sum
	}
	return g
}

// see returns why whoever sent r may not see, or nil.
func (g guard) see(r *http.Request) *problem {
	switch {
	case !g.knows(r.Host):
		return foreignHost
	case fromElsewhere(r):
		return foreignOrigin
	case isLocal(r):
		return nil
	case g.token == nil:
		return closed
	}
	return g.authorize(r)
}

// change returns why whoever sent r may not change anything, or nil.
func (g guard) change(r *http.Request) *problem {
	switch {
	case !g.knows(r.Host):
		return foreignHost
	case fromElsewhere(r):
		return foreignOrigin
	case g.token == nil:
		return readOnly
	}
	return g.authorize(r)
}

// knows reports whether a Host header can only mean this machine: an address, which nobody can point
// elsewhere, or a name that is known.
func (g guard) knows(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(g.hosts, host)
}

// fromElsewhere reports whether the page of another origin had a browser send r. Programs say nothing of
// origins.
func fromElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none": // none: the user's own doing
	default:
		return true
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	return false
}

// isLocal reports whether r comes from this machine: over a unix socket or loopback. A proxy on this machine
// that says so asks for somebody else.
func isLocal(r *http.Request) bool {
	if r.Header.Get("Forwarded") != "" || r.Header.Get("X-Forwarded-For") != "" {
		return false
	}
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && addr.Network() == "unix" {
		return true
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && client.Addr().Unmap().IsLoopback()
}

// authorize takes as long for a wrong token as for the right one, whatever is wrong with it.
func (g guard) authorize(r *http.Request) *problem {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return noToken
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	if subtle.ConstantTimeCompare(sum[:], g.token[:]) != 1 {
		return wrongToken
	}
	return nil
}
