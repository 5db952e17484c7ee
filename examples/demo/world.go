package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// Where the targets seem to be, seen through the servers. The names exist nowhere else (RFC 2606, RFC 5737).
const (
	pageHost   = "demo.example"
	nameServer = "192.0.2.53:53"
)

// upstreams are the servers, each with the carrier that the client shall use for it.
var upstreams = []struct {
	name, cipher, flag string
}{
	{"HTTP/1.1", "chacha20-ietf-poly1305", ""},
	{"HTTP/2", "aes-256-gcm", "?h2=only"},
	{"HTTP/3", "aes-128-gcm", "?h3=only"},
}

// world is everything that is the internet otherwise.
type world struct {
	servers []*outlinetest.Server
	entries []string // the servers' parts of a configuration file
	folder  string   // holds the servers' certificate authorities
	closers []io.Closer
}

func startWorld() (w *world, err error) {
	w = &world{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.folder, err = os.MkdirTemp("", "outline-demo-"); err != nil {
		return w, err
	}
	page, err := outlinetest.StartHTTP("")
	if err != nil {
		return w, fmt.Errorf("start the web page: %w", err)
	}
	w.closers = append(w.closers, page)
	dns, err := outlinetest.StartDNS("")
	if err != nil {
		return w, fmt.Errorf("start the name server: %w", err)
	}
	w.closers = append(w.closers, dns)
	hosts := map[string]string{pageHost + ":80": page.Addr(), nameServer: dns.Addr()}
	for _, u := range upstreams {
		s, err := outlinetest.Start(outlinetest.Config{
			Cipher: u.cipher, Secret: "demo secret", Hosts: hosts,
			Protocols: outlinetest.HTTP1 | outlinetest.HTTP2 | outlinetest.HTTP3,
		})
		if err != nil {
			return w, fmt.Errorf("start a server: %w", err)
		}
		w.closers = append(w.closers, s)
		w.servers = append(w.servers, s)
		entry, err := w.entry(s, u.name, u.flag)
		if err != nil {
			return w, err
		}
		w.entries = append(w.entries, entry)
	}
	return w, nil
}

// entry is how a user writes a server down.
func (w *world) entry(s *outlinetest.Server, name, flag string) (string, error) {
	folder, err := os.MkdirTemp(w.folder, "")
	if err != nil {
		return "", err
	}
	ca, err := s.WriteCA(folder)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  - name: %q\n", name)
	fmt.Fprintf(&b, "    tcp_wss: %q\n    udp_wss: %q\n", s.StreamURL()+flag, s.PacketURL()+flag)
	fmt.Fprintf(&b, "    cipher: %s\n    secret: %q\n", s.Cipher(), s.Secret())
	fmt.Fprintf(&b, "    tls: {ca_file: %q}\n", ca)
	return b.String(), nil
}

func (w *world) close() {
	var errs []error
	for i := len(w.closers) - 1; i >= 0; i-- {
		errs = append(errs, w.closers[i].Close())
	}
	if w.folder != "" {
		errs = append(errs, os.RemoveAll(w.folder))
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "demo: clean up:", err)
	}
}
