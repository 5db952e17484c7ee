package config

import "go.yaml.in/yaml/v4"

// parseUpstreamURL reads tcp_wss and udp_wss.
func (d *decoder) parseUpstreamURL(s string) (URL, error) {
	u, err := parseURL(s)
	if err != nil || u.IsZero() || d.checks.URL == nil {
		return u, err
	}
	return u, d.checks.URL(s)
}

func (d *decoder) parseCipher(s string) (string, error) {
	if s == "" || d.checks.Cipher == nil {
		return s, nil
	}
	return s, d.checks.Cipher(s)
}

// bytesField is a text whose code points are bytes.
type bytesField struct{ into *[]byte }

func (b bytesField) decode(d *decoder, at place, n *yaml.Node) {
	prefix := scalar[string]{new(string), "text", func(s string) (string, error) {
		raw, err := parsePrefix(s)
		return string(raw), err
	}}
	if raw, ok := prefix.read(d, at, n); ok && raw != "" {
		*b.into = []byte(raw)
	}
}
