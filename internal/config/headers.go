package config

import (
	"net/textproto"
	"strings"

	"go.yaml.in/yaml/v4"
)

// headers is a map from the names of HTTP headers to their values.
type headers struct{ into *map[string]Secret }

// handshakeHeaders are those that the WebSocket handshake and HTTP itself own, in canonical form.
const handshakeHeaders = " Connection Upgrade Proxy-Connection Keep-Alive " +
	"Content-Length Transfer-Encoding Te Trailer "

func (h headers) decode(d *decoder, at place, n *yaml.Node) {
	fields := make(map[string]Secret)
	for _, p := range d.pairs(at, n) {
		here := at.key(p.shown(), p.key)
		name := textproto.CanonicalMIMEHeaderKey(p.key.Value)
		if !isToken(name) {
			d.problem(here, "is not a valid header name")
			continue
		}
		if strings.Contains(handshakeHeaders, " "+name+" ") || strings.HasPrefix(name, "Sec-Websocket-") {
			here = at.key(p.key.Value, p.key)
			d.problem(here, "this header belongs to the WebSocket handshake and cannot be set")
			continue
		}
		if _, twice := fields[name]; twice {
			d.problem(here, "is set twice, in different spellings")
			continue
		}
		text, ok := d.text(here, target(p.value), "text")
		switch {
		case !ok:
		case strings.ContainsFunc(text, isControl):
			d.problem(here, "a header value must be one line without control characters")
		default:
			fields[name] = NewSecret(text)
		}
	}
	*h.into = fields
}

// isToken reports whether s can be the name of a header (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	odd := func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}
	return s != "" && !strings.ContainsFunc(s, odd)
}

// isControl holds for what a header value must not have (RFC 9110, section 5.5).
func isControl(r rune) bool { return r != '\t' && (r < ' ' || r == 0x7f) }
