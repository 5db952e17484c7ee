package outlinetest_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// patience bounds what a test waits for. No test that passes waits so long.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a minimal Shadowsocks client over gorilla's WebSocket, written apart from the server.
type client struct {
	t       *testing.T
	ws      *websocket.Conn
	size    int
	master  []byte
	aead    func([]byte) (cipher.AEAD, error)
	out, in cipher.AEAD
	outN    uint64
	inN     uint64
	message io.Reader
	code    int // of the server's Close frame
}

func dial(t *testing.T, s *outlinetest.Server, url string) (*client, *http.Response, error) {
	t.Helper()
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: s.CertPool()}, HandshakeTimeout: patience}
	ws, response, err := d.DialContext(t.Context(), url, nil)
	if err != nil {
		return nil, response, err
	}
	c := &client{t: t, ws: ws}
	t.Cleanup(func() { _ = ws.Close() })
	ws.SetCloseHandler(func(code int, _ string) error { c.code = code; return nil })
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	c.setCipher(s.Cipher(), s.Secret())
	return c, response, nil
}

func mustDial(t *testing.T, s *outlinetest.Server, url string) *client {
	t.Helper()
	c, _, err := dial(t, s, url)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	return c
}

func (c *client) setCipher(name, secret string) {
	c.aead = chacha20poly1305.New
	c.size = 32
	if bits, ok := strings.CutPrefix(name, "aes-"); ok {
		_, _ = fmt.Sscanf(bits, "%d", &c.size)
		c.size /= 8
		c.aead = func(key []byte) (cipher.AEAD, error) {
			block, err := aes.NewCipher(key)
			if err != nil {
				return nil, err
			}
			return cipher.NewGCM(block)
		}
	}
	first := md5.Sum([]byte(secret))
	second := md5.Sum(append(first[:], secret...))
	c.master = append(first[:], second[:]...)[:c.size]
}

// session is HKDF-SHA1 (RFC 5869) written out.
func (c *client) session(salt []byte) cipher.AEAD {
	extract := hmac.New(sha1.New, salt)
	extract.Write(c.master)
	prk := extract.Sum(nil)
	var key, block []byte
	for i := byte(1); len(key) < c.size; i++ {
		expand := hmac.New(sha1.New, prk)
		expand.Write(block)
		expand.Write([]byte("ss-subkey"))
		expand.Write([]byte{i})
		block = expand.Sum(nil)
		key = append(key, block...)
	}
	aead, err := c.aead(key[:c.size])
	if err != nil {
		c.t.Fatal(err)
	}
	return aead
}

func nonce(n *uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, *n)
	*n++
	return append(b, 0, 0, 0, 0)
}

func newSalt(size int) []byte {
	salt := make([]byte, size)
	_, _ = rand.Read(salt)
	return salt
}

// seal returns data as one chunk; the first one with the salt in front.
func (c *client) seal(data []byte) []byte {
	var wire []byte
	if c.out == nil {
		wire = newSalt(c.size)
		c.out = c.session(wire)
	}
	wire = c.out.Seal(wire, nonce(&c.outN), binary.BigEndian.AppendUint16(nil, uint16(len(data))), nil)
	return c.out.Seal(wire, nonce(&c.outN), data, nil)
}

func socksAddr(addr string) []byte {
	host, port, _ := net.SplitHostPort(addr)
	n := 0
	_, _ = fmt.Sscanf(port, "%d", &n)
	out := append([]byte{3, byte(len(host))}, host...)
	if ip, err := netip.ParseAddr(host); err == nil {
		out = append([]byte{1}, ip.AsSlice()...)
		if ip.Is6() {
			out[0] = 4
		}
	}
	return binary.BigEndian.AppendUint16(out, uint16(n))
}

// open sends the target and the first data as one message.
func (c *client) open(target string, data string) {
	c.t.Helper()
	c.send(c.seal(append(socksAddr(target), data...)))
}

// write sends data in chunks of their largest size, one message each.
func (c *client) write(data []byte) error {
	for len(data) > 0 {
		n := min(len(data), 0x3FFF)
		if err := c.ws.WriteMessage(websocket.BinaryMessage, c.seal(data[:n])); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (c *client) send(message []byte) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.BinaryMessage, message); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) closeWrite() {
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(patience))
}

// Read is the wire without message boundaries; a Close frame is EOF, the end of TCP is not.
func (c *client) Read(p []byte) (int, error) {
	for {
		if c.message != nil {
			n, err := c.message.Read(p)
			if n > 0 || !errors.Is(err, io.EOF) {
				return n, err
			}
		}
		kind, message, err := c.ws.NextReader()
		var closed *websocket.CloseError
		if errors.As(err, &closed) && c.code != 0 {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		if kind != websocket.BinaryMessage {
			return 0, errors.New("text message")
		}
		c.message = message
	}
}

// next reads one chunk.
func (c *client) next() ([]byte, error) {
	if c.in == nil {
		salt := make([]byte, c.size)
		if _, err := io.ReadFull(c, salt); err != nil {
			return nil, err
		}
		c.in = c.session(salt)
	}
	length, err := c.unseal(2)
	if err != nil {
		return nil, err
	}
	return c.unseal(int(binary.BigEndian.Uint16(length)))
}

func (c *client) unseal(n int) ([]byte, error) {
	sealed := make([]byte, n+16)
	if _, err := io.ReadFull(c, sealed); err != nil {
		return nil, err
	}
	return c.in.Open(sealed[:0], nonce(&c.inN), sealed, nil)
}

// readAll reads until the server's Close frame, for which the error is nil.
func (c *client) readAll() ([]byte, error) {
	var all []byte
	for {
		chunk, err := c.next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, chunk...)
	}
}

// readN reads n bytes of the answer, which must end with a chunk.
func (c *client) readN(n int) []byte {
	c.t.Helper()
	var all []byte
	for len(all) < n {
		chunk, err := c.next()
		if err != nil {
			c.t.Fatalf("read after %d of %d bytes: %v", len(all), n, err)
		}
		all = append(all, chunk...)
	}
	return all
}

// packet seals one packet for target.
func (c *client) packet(target string, data []byte) []byte {
	salt := newSalt(c.size)
	return c.session(salt).Seal(salt, make([]byte, 12), append(socksAddr(target), data...), nil)
}

// answer reads one packet and returns the address in it and what follows.
func (c *client) answer() ([]byte, error) {
	_, message, err := c.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	return c.session(message[:c.size]).Open(nil, make([]byte, 12), message[c.size:], nil)
}

// start opens a server that ends with the test.
func start(t *testing.T, config outlinetest.Config) *outlinetest.Server {
	t.Helper()
	s, err := outlinetest.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run returns a target that ends with the test.
func run(t *testing.T) func(*outlinetest.Target, error) *outlinetest.Target {
	return func(target *outlinetest.Target, err error) *outlinetest.Target {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = target.Close() })
		return target
	}
}

// wait waits for a fact of the server's stats.
func wait(t *testing.T, s *outlinetest.Server, ok func(outlinetest.Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Wait(ctx, ok); err != nil {
		t.Fatalf("wait: %v, stats %+v", err, s.Stats())
	}
}
