package carrier

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// StatusError is an HTTP response that does not open a WebSocket.
type StatusError struct {
	Code int
	Want int // 101 on HTTP/1.1, 200 on HTTP/2 and HTTP/3
}

func (e *StatusError) Error() string {
	hint := ""
	switch e.Code {
	case http.StatusNotFound, http.StatusBadRequest:
		hint = ": is the path in the URL right?"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		hint = ": the proxy in front works, the Outline server behind it does not"
	}
	return fmt.Sprintf("server answered %d %s instead of %d%s", e.Code, http.StatusText(e.Code), e.Want, hint)
}

// HostPort is where a WebSocket's server listens: its port, or that of the scheme.
func HostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "wss":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
