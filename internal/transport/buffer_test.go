package transport_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

// counter counts the writes that reach the socket.
type counter struct {
	net.Conn
	writes int
}

func (c *counter) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// serverConfig has a certificate that nobody should trust.
func serverConfig(t *testing.T) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
}

func TestRecordSizeCostsOneWrite(t *testing.T) {
	near, far := transporttest.TCPPair(t)
	server := tls.Server(far, serverConfig(t))
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, server) })
	defer reading.Wait()
	defer near.Close()

	c := &counter{Conn: near}
	client := tls.Client(c, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int]int{1: 1, transport.RecordSize: 1, transport.RecordSize + 1: 2} {
		c.writes = 0
		if _, err := client.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if c.writes != want {
			t.Errorf("TLS writes of %d bytes = %d, want %d", size, c.writes, want)
		}
	}
}
