package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
)

const (
	// statusPatience bounds one look. The program answers at once or not at all.
	statusPatience = 5 * time.Second
	// maxReport bounds an answer, in bytes. A thousand upstreams fit.
	maxReport = 16 << 20
)

// statusClient asks the running program.
type statusClient struct {
	addr  string // as the user knows it
	host  string // for the request
	token string
	hint  string // what may be wrong when there is no answer
	http  http.Client
}

// newStatusClient makes a client for host:port or unix:PATH.
func newStatusClient(addr, token string) (*statusClient, error) {
	c := &statusClient{addr: addr, host: addr, token: token, http: http.Client{Timeout: statusPatience}}
	transport := &http.Transport{} // which uses no proxy
	c.http.Transport = transport
	if path, unix := strings.CutPrefix(addr, config.UnixPrefix); unix {
		c.host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			//nolint:forbidigo // a socket of this machine, which needs no mark
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return c, nil
	}
	host, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil || port == "":
		return nil, fmt.Errorf("%q is no address like 127.0.0.1:9101 or unix:/run/o.sock", addr)
	case port == "0":
		return nil, fmt.Errorf("the port of %s is any free one, which the log says; give it with -addr", addr)
	}
	c.host = net.JoinHostPort(reachable(host), port)
	return c, nil
}

// reachable is where a listener on all addresses can be reached on this machine.
func reachable(host string) string {
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip == netip.IPv4Unspecified():
		return "127.0.0.1"
	case err == nil && ip == netip.IPv6Unspecified():
		return "::1"
	}
	return host
}

// report asks for a report, and returns it as it came too.
func (c *statusClient) report(ctx context.Context) ([]byte, *report.Report, error) {
	target := url.URL{Scheme: "http", Host: c.host, Path: "/api/v1/status"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, plainError(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReport))
	switch {
	case err != nil:
		return nil, nil, plainError(err)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, refusal(resp.Status, body)
	}
	var r report.Report
	if err := json.Unmarshal(body, &r); err != nil || r.At.IsZero() {
		return nil, nil, errors.New("what answers there is not this program")
	}
	return bytes.TrimSpace(body), &r, nil
}

// plainError drops method and URL, which are no news.
func plainError(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		if e.Timeout() {
			return fmt.Errorf("nothing within %s", statusPatience)
		}
		return e.Err
	}
	return err
}

// refusal is what the program says about a request that it does not answer.
func refusal(status string, body []byte) error {
	var said struct{ Error, Fix string }
	if err := json.Unmarshal(body, &said); err != nil || said.Error == "" {
		return errors.New(printable(status))
	}
	if said.Fix != "" {
		said.Error += "; " + said.Fix
	}
	return errors.New(printable(said.Error))
}
