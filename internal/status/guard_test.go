package status

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// headers makes a header of "Key: value" lines.
func headers(lines ...string) http.Header {
	h := make(http.Header)
	for _, line := range lines {
		key, value, _ := strings.Cut(line, ": ")
		h.Add(key, value)
	}
	return h
}

// TestWhoMayDoWhat sends every request twice: to see, and to change.
func TestWhoMayDoWhat(t *testing.T) {
	const (
		other   = "192.0.2.7:5000"
		unknown = "this name is not known"
		site    = "another web site"
	)
	for _, tt := range []struct {
		name        string
		request     request
		see, change int
		says        string // when both are refused for the same reason
	}{
		{"program with the token", request{}, 200, 204, ""},
		{"program without", request{auth: "none"}, 200, 401, ""},
		{"wrong token", request{auth: "Bearer 0123456789abcdeX"}, 200, 401, ""},
		{"beginning of the token", request{auth: "Bearer 0123456789abcde"}, 200, 401, ""},
		{"longer than the token", request{auth: "Bearer 0123456789abcdef0"}, 200, 401, ""},
		{"another scheme", request{auth: "Basic " + token}, 200, 401, ""},
		{"scheme in lower case", request{auth: "bearer " + token}, 200, 204, ""},
		{"IPv6", request{host: "[::1]:9101", client: "[::1]:40000"}, 200, 204, ""},
		{"mapped IPv4", request{client: "[::ffff:127.0.0.1]:40000"}, 200, 204, ""},

		{"other host with the token", request{client: other}, 200, 204, ""},
		{"other host without", request{client: other, auth: "none"}, 401, 401, "a token is needed"},
		{"other host, wrong", request{client: other, auth: "Bearer x"}, 401, 401, "the token is wrong"},
		{
			"other host through a proxy here",
			request{auth: "none", header: headers("X-Forwarded-For: 192.0.2.7")},
			401, 401, "a token is needed",
		},
		{
			"the same, RFC 7239",
			request{auth: "none", header: headers("Forwarded: for=192.0.2.7")},
			401, 401, "a token is needed",
		},

		{"localhost", request{host: "localhost:9101"}, 200, 204, ""},
		{"localhost, dot", request{host: "LOCALHOST.:9101"}, 200, 204, ""},
		{"below localhost", request{host: "status.localhost"}, 200, 204, ""},
		{"a known name", request{host: "Router.lan:9101"}, 200, 204, ""},
		{"an address without port", request{host: "192.0.2.1"}, 200, 204, ""},
		{"a name that was pointed here", request{host: "evil.example:9101"}, 403, 403, unknown},
		{"a name that looks like it", request{host: "localhost.evil.example"}, 403, 403, unknown},
		{"an address in a name", request{host: "127.0.0.1.evil.example"}, 403, 403, unknown},
		{"no host", request{host: ":9101"}, 403, 403, unknown},

		{"own page", request{header: headers("Origin: http://127.0.0.1:9101")}, 200, 204, ""},
		{
			"own page, new browser",
			request{header: headers("Origin: http://127.0.0.1:9101", "Sec-Fetch-Site: same-origin")},
			200, 204, "",
		},
		{
			"own page behind TLS",
			request{host: "router.lan", header: headers("Origin: https://router.lan")},
			200, 204, "",
		},
		{"typed in", request{header: headers("Sec-Fetch-Site: none")}, 200, 204, ""},
		{"another page", request{header: headers("Origin: https://evil.example")}, 403, 403, site},
		{"another port", request{header: headers("Origin: http://127.0.0.1:8000")}, 403, 403, site},
		{"a file", request{header: headers("Origin: null")}, 403, 403, site},
		{"rubbish", request{header: headers("Origin: ://")}, 403, 403, site},
		{
			"two origins",
			request{header: headers("Origin: http://127.0.0.1:9101", "Origin: http://evil.example")},
			403, 403, site,
		},
		{"another site", request{header: headers("Sec-Fetch-Site: cross-site")}, 403, 403, site},
		{"another origin here", request{header: headers("Sec-Fetch-Site: same-site")}, 403, 403, site},
		{
			"origin of a rebound name",
			request{host: "evil.example", header: headers("Origin: http://evil.example")},
			403, 403, unknown,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := new(program)
			h := newHandler(p)
			see, change := tt.request, tt.request
			see.path, change.path, change.method = "/api/v1/status", "/api/v1/upstreams/a/select", "POST"
			saw, changed := see.send(h), change.send(h)
			if saw.Code != tt.see || changed.Code != tt.change {
				t.Errorf("see %d, change %d, want %d, %d", saw.Code, changed.Code, tt.see, tt.change)
			}
			if len(p.calls) > 0 != (tt.change == 204) {
				t.Errorf("calls: %q", p.calls)
			}
			for _, w := range []*httptest.ResponseRecorder{saw, changed} {
				if !strings.Contains(w.Body.String(), tt.says) {
					t.Errorf("%d without %q: %s", w.Code, tt.says, w.Body)
				}
				if w.Code == 401 && w.Header().Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("WWW-Authenticate: %q", w.Header().Get("WWW-Authenticate"))
				}
			}
			see.path = "/metrics"
			if w := see.send(h); w.Code != tt.see {
				t.Errorf("metrics: %d, want %d", w.Code, tt.see)
			}
			see.path = "/healthz"
			if w := see.send(h); w.Code != 200 {
				t.Errorf("healthz: %d", w.Code)
			}
		})
	}
}

func TestOtherHostsWhereThereIsNoToken(t *testing.T) {
	h := Handler(Options{Source: new(program)})
	w := request{path: "/api/v1/status", client: "192.0.2.7:5000"}.send(h)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "set status.token") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestUnixSocketIsLocal(t *testing.T) {
	c, s := unixPair(t)
	done := make(chan error, 1)
	go func() { done <- Serve(t.Context(), s, newHandler(new(program))) }()
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", c) }
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	resp, err := client.Get("http://localhost/api/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
	s.Close()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

func unixPair(t *testing.T) (path string, l net.Listener) {
	t.Helper()
	path = t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return path, l
}
