package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// Where the targets seem to be, seen through the servers. The names exist nowhere else (RFC 2606, RFC 5737).
const (
	pageHost   = "demo.example"
	nameServer = "192.0.2.53:53"
)

// ciphers are those of the servers.
var ciphers = []string{"chacha20-ietf-poly1305", "aes-256-gcm", "aes-128-gcm"}

// world is everything that is the internet otherwise.
type world struct {
	servers []*outlinetest.Server
	folder  string // holds the servers' certificate authorities
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
	for _, cipher := range ciphers {
		s, err := outlinetest.Start(outlinetest.Config{Cipher: cipher, Secret: "demo secret", Hosts: hosts})
		if err != nil {
			return w, fmt.Errorf("start a server: %w", err)
		}
		w.closers = append(w.closers, s)
		w.servers = append(w.servers, s)
	}
	return w, nil
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
