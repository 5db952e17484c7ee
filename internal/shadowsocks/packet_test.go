package shadowsocks

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// datagrams is a packet connection in memory.
type datagrams struct {
	net.Conn
	in   [][]byte
	sent [][]byte
}

func (d *datagrams) Read(p []byte) (int, error) {
	if len(d.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, d.in[0])
	d.in = d.in[1:]
	return n, nil
}

func (d *datagrams) Write(p []byte) (int, error) {
	d.sent = append(d.sent, bytes.Clone(p))
	return len(p), nil
}

// roomyDatagrams takes packets in place.
type roomyDatagrams struct {
	*datagrams
	room transport.Headroom
}

func (d *roomyDatagrams) Headroom() transport.Headroom { return d.room }

func (d *roomyDatagrams) WriteHeadroom(buf []byte, front, back int) error {
	_, err := d.Write(buf[front : len(buf)-back])
	clear(buf) // it is the layer's to overwrite
	return err
}

// ConnectPacket makes it an endpoint that reaches itself.
func (d *datagrams) ConnectPacket(context.Context) (net.Conn, error)      { return d, nil }
func (d *roomyDatagrams) ConnectPacket(context.Context) (net.Conn, error) { return d, nil }

func listen(t testing.TB, e transport.PacketEndpoint, cipherName string, onBad func(error)) *packetConn {
	t.Helper()
	l := &PacketListener{Endpoint: e, Key: newTestKey(t, cipherName), OnBadPacket: onBad}
	c, err := l.ListenPacket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c.(*packetConn)
}

// packet returns what a server sends from source.
func (k peerKey) packet(t testing.TB, source, payload string) []byte {
	t.Helper()
	addr, err := socksaddr.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	salt := make([]byte, k.size)
	_, _ = rand.Read(salt)
	return k.aead(salt).Seal(salt, make([]byte, nonceSize), append(addr.Append(nil), payload...), nil)
}

// open returns what a client's packet holds.
func (k peerKey) openPacket(t testing.TB, b []byte) (target, payload string) {
	t.Helper()
	plain, err := k.aead(b[:k.size]).Open(nil, make([]byte, nonceSize), b[k.size:], nil)
	if err != nil {
		t.Fatal(err)
	}
	addr, rest, err := socksaddr.Cut(plain)
	if err != nil {
		t.Fatal(err)
	}
	return addr.String(), string(rest)
}

var targets = []net.Addr{
	&net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 53},
	net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:443")),
	mustParse("example.com:123"),
}

func mustParse(s string) net.Addr {
	a, err := socksaddr.Parse(s)
	if err != nil {
		panic(err)
	}
	return a
}

func TestPacketsOut(t *testing.T) {
	for _, c := range ciphers {
		t.Run(c.name, func(t *testing.T) {
			key, plain := newPeerKey(c.name, testSecret), &datagrams{}
			roomy := &roomyDatagrams{plain, transport.Headroom{Front: 14, Back: 3, Max: 1 << 20}}
			large := &roomyDatagrams{plain, transport.Headroom{Front: packetRoom, Back: 1, Max: 1 << 20}}
			for _, e := range []transport.PacketEndpoint{plain, roomy, large} {
				conn := listen(t, e, c.name, nil)
				for _, target := range targets {
					for _, n := range []int{0, 1, 1400, smallDatagram, 4000, 65535} {
						plain.sent = nil
						payload := strings.Repeat("p", n)
						if m, err := conn.WriteTo([]byte(payload), target); m != n || err != nil {
							t.Fatalf("WriteTo(%d bytes) = %d, %v", n, m, err)
						}
						if len(plain.sent) != 1 {
							t.Fatalf("%d bytes made %d packets, want 1", n, len(plain.sent))
						}
						to, got := key.openPacket(t, plain.sent[0])
						if to != target.String() || got != payload {
							t.Errorf("peer got %d bytes for %s, want %d for %s", len(got), to, n, target)
						}
					}
				}
			}
		})
	}
}

func TestPacketsDoNotFit(t *testing.T) {
	d := &datagrams{}
	conn := listen(t, d, chacha, nil)
	if _, err := conn.WriteTo(make([]byte, 65536), targets[0]); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("WriteTo(65536 bytes) = %v, want %v", err, syscall.EMSGSIZE)
	}
	if _, err := conn.WriteTo([]byte("x"), &net.UDPAddr{}); err == nil {
		t.Error("WriteTo() without a host = nil, want an error")
	}
	if len(d.sent) != 0 {
		t.Errorf("%d packets went out, want none", len(d.sent))
	}
}

// Every packet has a salt of its own, and so has every stream.
func TestSaltsDiffer(t *testing.T) {
	d := &datagrams{}
	conn := listen(t, d, chacha, nil)
	salts := make(map[string]bool)
	for range 100 {
		_, _ = conn.WriteTo([]byte("x"), targets[0])
		salt, err := newSalt(conn.key, []byte("prefix"))
		if err != nil {
			t.Fatal(err)
		}
		salts[string(salt)] = true
	}
	for _, p := range d.sent {
		salts[string(p[:32])] = true
	}
	if len(salts) != 200 {
		t.Errorf("100 packets and 100 streams have %d salts, want 200", len(salts))
	}
}

func TestPacketsIn(t *testing.T) {
	for _, c := range ciphers {
		t.Run(c.name, func(t *testing.T) {
			key, d := newPeerKey(c.name, testSecret), &datagrams{}
			conn := listen(t, d, c.name, func(err error) { t.Errorf("dropped a good packet: %v", err) })
			buf := make([]byte, 65535)
			for _, target := range targets {
				for _, n := range []int{0, 1, 1400, 65535} {
					payload := strings.Repeat("p", n)
					d.in = append(d.in, key.packet(t, target.String(), payload))
					m, from, err := conn.ReadFrom(buf)
					if err != nil || from.String() != target.String() || string(buf[:m]) != payload {
						t.Errorf("%d bytes from %v, %v, want %d from %s", m, from, err, n, target)
					}
				}
			}
			if _, _, err := conn.ReadFrom(buf); !isEOF(err) {
				t.Errorf("ReadFrom() at the end = %v, want EOF", err)
			}
		})
	}
}

// What does not open says nothing about the connection: it is dropped, and counted.
func TestBadPacketsAreDropped(t *testing.T) {
	key := newPeerKey(chacha, testSecret)
	damaged := key.packet(t, "192.0.2.1:53", "damaged")
	damaged[40] ^= 1
	salt := make([]byte, key.size)
	noSource := key.aead(salt).Seal(salt, make([]byte, nonceSize), []byte{9, 9, 9}, nil)
	empty := make([]byte, key.size)
	empty = key.aead(empty).Seal(empty, make([]byte, nonceSize), nil, nil)
	d := &datagrams{in: [][]byte{
		damaged,
		{},
		[]byte("short"), make([]byte, key.size+tagSize-1), make([]byte, key.size+tagSize),
		noSource, empty,
		newPeerKey(chacha, "another").packet(t, "192.0.2.1:53", "another secret"),
		key.packet(t, "192.0.2.1:53", "good"),
	}}
	want := len(d.in) - 1
	var bad []error
	conn := listen(t, d, chacha, func(err error) { bad = append(bad, err) })
	buf := make([]byte, 100)
	n, from, err := conn.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "good" || from.String() != "192.0.2.1:53" {
		t.Errorf("ReadFrom() = %q from %v, %v, want the good one", buf[:n], from, err)
	}
	if len(bad) != want {
		t.Errorf("%d packets counted as bad, want %d: %v", len(bad), want, bad)
	}
	if !errors.Is(bad[0], ErrAuth) {
		t.Errorf("a damaged packet = %v, want %v", bad[0], ErrAuth)
	}
	d.in = [][]byte{damaged}
	if _, _, err := listen(t, d, chacha, nil).ReadFrom(buf); !isEOF(err) {
		t.Errorf("ReadFrom() without a callback = %v, want EOF", err)
	}
}

func TestPacketIsCut(t *testing.T) {
	d := &datagrams{in: [][]byte{newPeerKey(chacha, testSecret).packet(t, "192.0.2.1:53", "hello")}}
	buf := make([]byte, 3)
	n, _, err := listen(t, d, chacha, nil).ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hel" {
		t.Errorf("ReadFrom() = %q, %v, want hel", buf[:n], err)
	}
}

func TestListenFails(t *testing.T) {
	broken := errors.New("broken")
	l := &PacketListener{Endpoint: failing{broken}, Key: newTestKey(t, chacha)}
	if _, err := l.ListenPacket(t.Context()); !errors.Is(err, broken) {
		t.Errorf("ListenPacket() = %v, want %v", err, broken)
	}
}

// What is not about packets goes to the connection below.
func TestPacketConnDelegates(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	conn := listen(t, pipeEndpoint{a}, chacha, nil)
	if conn.LocalAddr() != a.LocalAddr() {
		t.Errorf("LocalAddr() = %v, want %v", conn.LocalAddr(), a.LocalAddr())
	}
	past := time.Unix(1, 0)
	for name, set := range map[string]func(time.Time) error{
		"SetDeadline": conn.SetDeadline, "SetReadDeadline": conn.SetReadDeadline,
	} {
		_ = set(past)
		if _, _, err := conn.ReadFrom(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadFrom() after %s = %v, want %v", name, err, os.ErrDeadlineExceeded)
		}
		_ = set(time.Time{})
	}
	_ = conn.SetWriteDeadline(past)
	if _, err := conn.WriteTo([]byte("x"), targets[0]); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("WriteTo() after SetWriteDeadline = %v, want %v", err, os.ErrDeadlineExceeded)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	if _, _, err := conn.ReadFrom(make([]byte, 10)); err == nil {
		t.Error("ReadFrom() after Close = nil, want an error")
	}
}

type pipeEndpoint struct{ conn net.Conn }

func (e pipeEndpoint) ConnectPacket(context.Context) (net.Conn, error) { return e.conn, nil }
