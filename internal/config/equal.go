package config

import (
	"bytes"
	"crypto/x509"
	"maps"
	"slices"
)

// Equal reports whether both are the same server reached in the same way under the same name. Their weights
// may differ, and the files that their secrets come from.
func (u Upstream) Equal(v Upstream) bool {
	return u.Name == v.Name && u.TCP == v.TCP && u.UDP == v.UDP && u.HalfClose == v.HalfClose &&
		u.Cipher == v.Cipher && u.Secret == v.Secret && bytes.Equal(u.Prefix, v.Prefix) &&
		maps.Equal(u.Headers, v.Headers) && u.TLS.Equal(v.TLS)
}

// Equal reports whether both check certificates in the same way; the authorities count, not their file.
func (t TLS) Equal(v TLS) bool {
	return t.ServerName == v.ServerName && slices.Equal(t.PinSHA256, v.PinSHA256) &&
		equalPools(t.RootCAs, v.RootCAs)
}

func equalPools(a, b *x509.CertPool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}
