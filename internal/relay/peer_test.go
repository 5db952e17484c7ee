package relay

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// The far side of the benchmarks is a process of its own, this test binary once more, so that what is
// measured here is the client: the peer has the server, the targets and, where told, the application.

// peerCipher is the environment variable that makes a process a peer, with its server's cipher.
const peerCipher = "RELAY_TEST_PEER_CIPHER"

// peerPlace says where the peer's parts are.
type peerPlace struct {
	URL, Cipher, Secret string
	CA                  []byte
	Sink, Source        string // targets: one reads to the end, one writes without end
}

// order is what the peer's application shall do: connect to Addr, and send or receive Bytes.
type order struct {
	Addr   string
	Bytes  int64
	Upload bool
}

// servePeer reports whether this process is a peer, after it has done its work, which ends with its input.
func servePeer() bool {
	cipher := os.Getenv(peerCipher)
	if cipher == "" {
		return false
	}
	if err := runPeer(cipher); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
	return true
}

func runPeer(cipher string) error {
	s, err := outlinetest.Start(outlinetest.Config{Cipher: cipher})
	if err != nil {
		return err
	}
	defer s.Close()
	sink, err := serveTarget(func(c net.Conn) { _ = discard(c) })
	if err != nil {
		return err
	}
	defer sink.Close()
	source, err := serveTarget(func(c net.Conn) {
		for block := newBlock(); ; {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	defer source.Close()
	answers := json.NewEncoder(os.Stdout)
	err = answers.Encode(peerPlace{
		URL: s.StreamURL(), Cipher: s.Cipher(), Secret: s.Secret(), CA: s.CAPEM(),
		Sink: sink.Addr().String(), Source: source.Addr().String(),
	})
	if err != nil {
		return err
	}
	for orders := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := o.obey(); err != nil {
			return err
		}
		if err := answers.Encode(o.Bytes); err != nil {
			return err
		}
	}
}

func newBlock() []byte { return make([]byte, 64<<10) }

// discard reads to the end. io.Copy would choose a smaller buffer.
func discard(r io.Reader) error {
	for block := newBlock(); ; {
		if _, err := r.Read(block); err != nil {
			return noEOF(err)
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// serveTarget runs handle for every connection until the listener is closed.
func serveTarget(handle func(net.Conn)) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l, nil
}

func (o order) obey() error {
	c, err := net.Dial("tcp", o.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if !o.Upload {
		return discard(io.LimitReader(c, o.Bytes))
	}
	block := newBlock()
	for left := o.Bytes; left > 0; left -= int64(len(block)) {
		if _, err := c.Write(block[:min(left, int64(len(block)))]); err != nil {
			return err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	return discard(c) // the target ends after it has read everything
}

// peer is a running peer process.
type peer struct {
	peerPlace

	orders  *json.Encoder
	answers *json.Decoder
}

// startPeer runs a peer until the benchmark ends.
func startPeer(b *testing.B, cipher string) *peer {
	b.Helper()
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), peerCipher+"="+cipher)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		cancel()
	})
	p := &peer{orders: json.NewEncoder(in), answers: json.NewDecoder(bufio.NewReader(out))}
	if err := p.answers.Decode(&p.peerPlace); err != nil {
		b.Fatal(err)
	}
	return p
}

// upstream is the client's stack down to TCP.
func (p *peer) upstream(b *testing.B) *upstream.Upstream {
	b.Helper()
	target, err := carrier.ParseTarget(p.URL)
	if err != nil {
		b.Fatal(err)
	}
	cipher, err := shadowsocks.ParseCipher(p.Cipher)
	if err != nil {
		b.Fatal(err)
	}
	key, err := shadowsocks.NewKey(cipher, p.Secret)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CA)
	options := carrier.TLSOptions{RootCAs: pool}
	return upstream.New(upstream.Config{Name: "peer", Key: key, Stream: &carrier.Endpoint{
		Target: target,
		Dialers: map[carrier.Mode]carrier.Dialer{
			carrier.H1: &h1.Dialer{Net: dialer.New(dialer.Options{}), TLS: options.Config("http/1.1")},
		},
	}})
}
