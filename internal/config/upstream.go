package config

import (
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"
)

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

// certificates is the name of a PEM file with the authorities that may sign the certificate of an upstream.
type certificates struct{ into *TLS }

// caFile is what a PEM file turned out to be.
type caFile struct {
	pool *x509.CertPool
	err  error
}

func (c certificates) decode(d *decoder, at place, n *yaml.Node) {
	path, ok := d.text(at, n, "the name of a file")
	if !ok || path == "" {
		return
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.file), path)
	}
	file, known := d.cas[path]
	if !known {
		file.pool, file.err = readCertificates(path)
		d.cas[path] = file
	}
	if file.err != nil {
		d.problem(at, "%v", file.err)
		return
	}
	c.into.CAFile, c.into.RootCAs = path, file.pool
}

// readCertificates reads a PEM file. Its errors do not name the file, which the place in the config does.
func readCertificates(path string) (*x509.CertPool, error) {
	pem, err := readRegular(path)
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, wrong("the file cannot be read: %v", cause.Err)
	}
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, wrong("the file holds no certificate in PEM form")
	}
	return pool, nil
}

// readRegular reads a file of at most maxFile bytes. Devices and pipes could block for ever.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, wrong("is not a regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, wrong("the file is larger than %d bytes", maxFile)
	}
	return data, err
}
