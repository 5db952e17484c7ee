package outlinetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"time"
)

const (
	day       = 24 * time.Hour
	certBlock = "CERTIFICATE" // RFC 7468, section 5.1
)

// Cert says how the server's certificate deviates from a good one.
type Cert struct {
	Expired bool     // it ended yesterday
	Names   []string // DNS names or IP addresses besides localhost, 127.0.0.1 and ::1
	Only    bool     // Names alone, so that the address itself does not match
	// File, if not empty, keeps the certificate with its key and its authority, so that a server that is
	// started again is the same to its clients. It is made when it is not there.
	File string
}

// chain is an authority and one certificate that it signed.
type chain struct {
	caPEM string
	leaf  tls.Certificate
}

func newChain(c Cert) (*chain, error) {
	if c.File == "" {
		return makeChain(c)
	}
	kept, err := loadChain(c.File)
	if !errors.Is(err, fs.ErrNotExist) {
		return kept, err
	}
	made, err := makeChain(c)
	if err != nil {
		return nil, err
	}
	return made, made.save(c.File)
}

// save writes the certificate, its authority and its key.
func (c *chain) save(file string) error {
	key, err := x509.MarshalPKCS8PrivateKey(c.leaf.PrivateKey)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: c.leaf.Certificate[0]})
	text = append(text, c.caPEM...)
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	return os.WriteFile(file, text, 0o600)
}

func loadChain(file string) (*chain, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(pair.Certificate) != 2 {
		return nil, fmt.Errorf("%s: not a certificate and its authority", file)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: pair.Certificate[1]})
	return &chain{
		caPEM: string(ca),
		leaf:  tls.Certificate{Certificate: pair.Certificate[:1], PrivateKey: pair.PrivateKey},
	}, nil
}

func makeChain(c Cert) (*chain, error) {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "outlinetest authority"},
		NotBefore:             now.Add(-3 * day),
		NotAfter:              now.Add(day),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, c.template(now), ca, &leafKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &chain{
		caPEM: string(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: caDER})),
		leaf:  tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey},
	}, nil
}

// template is the server's certificate before it is signed.
func (c Cert) template(now time.Time) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "outlinetest"},
		NotBefore:    now.Add(-2 * day),
		NotAfter:     now.Add(day),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if c.Expired {
		t.NotAfter = now.Add(-day)
	}
	names := c.Names
	if !c.Only {
		names = append([]string{"localhost", "127.0.0.1", "::1"}, names...)
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		t.DNSNames = append(t.DNSNames, name)
	}
	return t
}

// config offers the protocols of the TCP port: HTTP/1.1 alone by default, as Outline's own web listener does.
func (c *chain) config(p Protocols, fault *faultBox) *tls.Config {
	config := &tls.Config{
		Certificates: []tls.Certificate{c.leaf},
		NextProtos:   p.alpn(),
		MinVersion:   tls.VersionTLS12,
	}
	without := config.Clone()
	without.NextProtos = (p &^ HTTP2).alpn()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		if fault.load().Mux.NoH2 {
			return without, nil
		}
		return nil, nil
	}
	return config
}
