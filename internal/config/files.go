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

// wantFile is what the fields that name a file want.
const wantFile = "the name of a file"

// beside makes a path of the file ready to open: a relative one starts at the folder of the file.
func (d *decoder) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.file), path)
}

// unreadable drops the name of a file from err; the place in the config says which it is.
func unreadable(err error) error {
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		return wrong("the file cannot be read: %v", cause.Err)
	}
	return err
}

// parseStateFile reads the name of a file that the program will write; nothing is allowed and means none.
func (d *decoder) parseStateFile(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	path := d.beside(s)
	if folder, err := os.Stat(filepath.Dir(path)); err != nil || !folder.IsDir() {
		return "", wrong("the folder of the file does not exist")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil // the first state makes it
	case err != nil:
		return "", unreadable(err)
	case !info.Mode().IsRegular():
		return "", wrong("is not a regular file")
	}
	if own, err := os.Stat(d.file); err == nil && os.SameFile(own, info) {
		return "", wrong("is this config file, which would be overwritten")
	}
	return path, nil
}

// certificates is the name of a PEM file with the authorities that may sign the certificate of an upstream.
type certificates struct{ into *TLS }

// caFile is what a PEM file turned out to be.
type caFile struct {
	pool *x509.CertPool
	err  error
}

func (c certificates) decode(d *decoder, at place, n *yaml.Node) {
	path, ok := d.text(at, n, wantFile)
	if !ok || path == "" {
		return
	}
	path = d.beside(path)
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

// readCertificates reads a PEM file. No error names it.
func readCertificates(path string) (*x509.CertPool, error) {
	pem, err := readRegular(path, maxFile)
	if err != nil {
		return nil, unreadable(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, wrong("the file holds no certificate in PEM form")
	}
	return pool, nil
}

// readRegular reads a file of at most most bytes. Devices and pipes could block for ever.
func readRegular(path string, most int) ([]byte, error) {
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
	data, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err == nil && len(data) > most {
		return nil, wrong("the file is larger than %d bytes", most)
	}
	return data, err
}
