//go:build interop

package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDig resolves a name over UDP and over TCP with every cipher.
func TestDig(t *testing.T) {
	for _, cipher := range Ciphers {
		t.Run(cipher, func(t *testing.T) {
			onEveryHost(t, func(t *testing.T, host netip.Addr) {
				client := programs.StartClient(t, host, programs.StartServer(t, host, cipher))
				testDig(t, host, client)
			})
		})
	}
}

func testDig(t *testing.T, host netip.Addr, client Client) {
	t.Helper()
	udp, tcp := StartDNS(t, host)
	local := StartForwarder(t, host, client.SOCKS, netip.MustParseAddrPort(udp))
	wantAnswer(t, "udp", MustRun(t, nil, "dig", digArgs(local, "+notcp", "+time=5", "+tries=3")...))
	config := proxychainsConfig(t, client.SOCKS)
	args := append([]string{"-q", "-f", config, "dig"}, digArgs(tcp, "+tcp", "+time=10", "+tries=1")...)
	wantAnswer(t, "tcp", MustRun(t, nil, "proxychains4", args...))
}

func digArgs(server string, options ...string) []string {
	addr := netip.MustParseAddrPort(server)
	args := []string{"@" + addr.Addr().String(), "-p", strconv.Itoa(int(addr.Port())), "+short"}
	return append(args, append(options, "www.example.com", "A")...)
}

func wantAnswer(t *testing.T, proto string, output []byte) {
	t.Helper()
	if got := strings.TrimSpace(string(output)); got != DNSAnswer {
		t.Errorf("dig over %s = %q, want %q", proto, got, DNSAnswer)
	}
}

// proxychainsConfig makes proxychains send every TCP connection of a program through the SOCKS5 server at
// socks.
func proxychainsConfig(t *testing.T, socks string) string {
	t.Helper()
	addr := netip.MustParseAddrPort(socks)
	text := fmt.Sprintf("strict_chain\n[ProxyList]\nsocks5 %s %d\n", addr.Addr(), addr.Port())
	return writeFile(t, filepath.Join(t.TempDir(), "proxychains.conf"), []byte(text))
}

// TestBulkUDP echoes bulk data as datagrams with every cipher, and expects each back whole and from its
// target.
func TestBulkUDP(t *testing.T) {
	for _, cipher := range Ciphers {
		t.Run(cipher, func(t *testing.T) {
			onEveryHost(t, func(t *testing.T, host netip.Addr) {
				client := programs.StartClient(t, host, programs.StartServer(t, host, cipher))
				got := echoDatagrams(t, client, netip.MustParseAddrPort(StartEcho(t, host)), Bulk())
				if SHA256(got) != SHA256(Bulk()) {
					t.Error("echo differs from what was sent")
				}
			})
		})
	}
}

// echoDatagrams sends data in numbered datagrams, a few at a time, and puts the echo together. A datagram may
// be lost; its window is sent again then.
func echoDatagrams(t *testing.T, client Client, target netip.AddrPort, data []byte) []byte {
	t.Helper()
	// ss-server takes 1397 bytes with its headers at most.
	const payload, window, attempts = 1200, 8, 5
	association, err := Associate(t.Context(), client.SOCKS)
	if err != nil {
		t.Fatal(err)
	}
	defer association.Close()
	echo := make([]byte, 0, len(data))
	resent := 0
	for begin := 0; begin < len(data); begin += window * payload {
		part := data[begin:min(begin+window*payload, len(data))]
		var got []byte
		for attempt := 0; len(got) < len(part); attempt++ {
			if attempt == attempts {
				t.Fatalf("at byte %d: %d of %d bytes came back", begin, len(got), len(part))
			}
			resent += min(attempt, 1)
			if got, err = echoWindow(association, target, part, begin, payload); err != nil {
				t.Fatalf("at byte %d: %v", begin, err)
			}
		}
		echo = append(echo, got...)
	}
	if windows := len(data)/(window*payload) + 1; resent > windows/50 {
		t.Errorf("%d of %d windows were sent again, more than loopback explains", resent, windows)
	}
	return echo
}

// echoWindow sends part in datagrams of size bytes and returns what came back of it before the first gap.
func echoWindow(a *Association, target netip.AddrPort, part []byte, offset, size int) ([]byte, error) {
	const timeout = time.Second
	chunks := make(map[uint64][]byte)
	missing := 0
	for i := 0; i < len(part); i += size {
		numbered := binary.BigEndian.AppendUint64(nil, uint64(offset+i))
		if err := a.Send(target, append(numbered, part[i:min(i+size, len(part))]...)); err != nil {
			return nil, err
		}
		missing++
	}
	buf := make([]byte, 65535)
	deadline := time.Now().Add(timeout)
	for missing > 0 {
		datagram, from, err := a.Receive(buf, deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, err
		}
		if from != target || len(datagram) < 8 {
			return nil, fmt.Errorf("%d bytes from %s, want an echo from %s", len(datagram), from, target)
		}
		number := binary.BigEndian.Uint64(datagram)
		if number < uint64(offset) || chunks[number] != nil {
			continue // late, from an earlier attempt
		}
		chunks[number] = bytes.Clone(datagram[8:])
		missing--
	}
	var got []byte
	for chunk := chunks[uint64(offset)]; chunk != nil; chunk = chunks[uint64(offset+len(got))] {
		got = append(got, chunk...)
	}
	return got, nil
}

// TestUDPOutlivesRelay loses the server's packet socket and expects the association to go on.
func TestUDPOutlivesRelay(t *testing.T) {
	host := Loopback[0]
	server := programs.StartServer(t, host, Ciphers[0])
	client := programs.StartClient(t, host, server)
	target := netip.MustParseAddrPort(StartEcho(t, host))
	association, err := Associate(t.Context(), client.SOCKS)
	if err != nil {
		t.Fatal(err)
	}
	defer association.Close()
	for _, round := range []string{"before the cut", "after the cut"} {
		if err := echoText(association, target, round); err != nil {
			t.Fatalf("%s: %v", round, err)
		}
		server.Bridge.Cut()
	}
}

// echoText sends text until it comes back.
func echoText(a *Association, target netip.AddrPort, text string) error {
	const attempts = 20
	buf := make([]byte, 65535)
	for range attempts {
		if err := a.Send(target, []byte(text)); err != nil {
			return err
		}
		got, _, err := a.Receive(buf, time.Now().Add(time.Second/2))
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			continue
		}
		if err != nil {
			return err
		}
		if string(got) == text {
			return nil
		}
	}
	return fmt.Errorf("no echo of %q in %d attempts", text, attempts)
}
