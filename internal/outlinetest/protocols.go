package outlinetest

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"sync/atomic"
)

// Protocols is a set of HTTP versions.
type Protocols uint8

// The versions. HTTP1 and HTTP2 share the TCP port; HTTP3 has the UDP port of the same number.
const (
	HTTP1 Protocols = 1 << iota
	HTTP2           // with WebSockets as RFC 8441 says
	HTTP3           // with WebSockets as RFC 9220 says
)

// errNeedTLS says what cannot be had without TLS here: prior knowledge is not in the servers we stand for.
var errNeedTLS = errors.New("HTTP/2 and HTTP/3 need TLS")

func (p Protocols) has(q Protocols) bool { return p&q != 0 }

// alpn is what the TCP port offers (RFC 7301).
func (p Protocols) alpn() []string {
	var names []string
	if p.has(HTTP2) {
		names = append(names, "h2")
	}
	if p.has(HTTP1) {
		names = append(names, "http/1.1")
	}
	return names
}

const (
	websocketProtocol = "websocket"
	keySize           = 16 // of Sec-WebSocket-Key (RFC 6455, section 4.1)
)

// asUpgrade returns r in the form of HTTP/1.1, if it is an extended CONNECT for a WebSocket, as a front does
// it that forwards to Outline's server. Another request is returned as it is, and fails there.
func asUpgrade(r *http.Request, protocol string) *http.Request {
	if r.Method != http.MethodConnect || protocol != websocketProtocol {
		return r
	}
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // never fails
	up := r.Clone(r.Context())
	up.Method = http.MethodGet
	up.Header.Set("Connection", "Upgrade")
	up.Header.Set("Upgrade", websocketProtocol)
	up.Header.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(key[:]))
	return up
}

// upgraded is a lane whose response has been sent: it swallows the 101 that the WebSocket library writes
// first, with one call.
type upgraded struct {
	lane
	past atomic.Bool
}

func (u *upgraded) Write(p []byte) (int, error) {
	if u.past.CompareAndSwap(false, true) {
		return len(p), nil
	}
	return u.lane.Write(p)
}
