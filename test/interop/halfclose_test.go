//go:build interop

package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestClientEndsFirst sends a request and a FIN with nc; the target answers bulk data after that.
func TestClientEndsFirst(t *testing.T) {
	for _, cipher := range Ciphers {
		t.Run(cipher, func(t *testing.T) {
			onEveryHost(t, func(t *testing.T, host netip.Addr) {
				server := programs.StartHalfClosingServer(t, host, cipher)
				client := programs.StartClient(t, host, server)
				testClientEndsFirst(t, host, client)
				wantCleanEnds(t, server, 1)
			})
		})
	}
}

func testClientEndsFirst(t *testing.T, host netip.Addr, client Client) {
	t.Helper()
	got := netcat(t, client, StartTCP(t, host, answerAfterEnd(t)), []byte("request"))
	if SHA256(got) != SHA256(Bulk()) {
		t.Errorf("answer after the client's end has %d bytes, want all %d", len(got), BulkSize)
	}
}

// TestLateAnswer lets the target think for longer than any close handshake may take.
func TestLateAnswer(t *testing.T) {
	const pause = 12 * time.Second
	host := Loopback[0]
	server := programs.StartHalfClosingServer(t, host, Ciphers[0])
	client := programs.StartClient(t, host, server)
	target := StartTCP(t, host, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn)
		select {
		case <-t.Context().Done():
		case <-time.After(pause):
		}
		_, _ = io.WriteString(conn, "late answer")
	})
	if got := netcat(t, client, target, []byte("request")); string(got) != "late answer" {
		t.Errorf("answer %v after the client's end = %q, want %q", pause, got, "late answer")
	}
	wantCleanEnds(t, server, 1)
}

// TestTargetEndsFirst lets the target answer and end, and uploads bulk data after that.
func TestTargetEndsFirst(t *testing.T) {
	for _, cipher := range Ciphers {
		t.Run(cipher, func(t *testing.T) {
			onEveryHost(t, func(t *testing.T, host netip.Addr) {
				server := programs.StartHalfClosingServer(t, host, cipher)
				client := programs.StartClient(t, host, server)
				testTargetEndsFirst(t, host, client)
				wantCleanEnds(t, server, 1)
			})
		})
	}
}

func testTargetEndsFirst(t *testing.T, host netip.Addr, client Client) {
	t.Helper()
	received := make(chan string, 1) // the sum of the upload
	target := StartTCP(t, host, func(conn *net.TCPConn) {
		_, _ = io.WriteString(conn, "goodbye")
		_ = conn.CloseWrite()
		sum := sha256.New()
		if _, err := io.Copy(sum, conn); err != nil {
			t.Errorf("target: %v", err)
		}
		received <- hex.EncodeToString(sum.Sum(nil))
	})
	uploadAfterEnd(t, client, target)
	if got := <-received; got != SHA256(Bulk()) {
		t.Error("the upload after the target's end differs from what was sent")
	}
}

// uploadAfterEnd reads to the target's end and uploads Bulk then.
func uploadAfterEnd(t *testing.T, client Client, target string) {
	t.Helper()
	conn, err := DialSOCKS(t.Context(), client.SOCKS, netip.MustParseAddrPort(target))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(commandTimeout)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "goodbye" {
		t.Fatalf("ReadAll = %q, %v, want goodbye and a clean end", got, err)
	}
	if _, err := conn.Write(Bulk()); err != nil {
		t.Fatalf("upload after the target's end: %v", err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// TestDeferredClose holds the client's end back from a server that would cut the answer at it, as ss-server
// does.
func TestDeferredClose(t *testing.T) {
	onEveryHost(t, func(t *testing.T, host netip.Addr) {
		server := programs.StartServer(t, host, Ciphers[0])
		client := programs.StartClient(t, host, server, "half_close: defer")
		const request = "request\n"
		target := StartTCP(t, host, func(conn *net.TCPConn) {
			if _, err := io.ReadFull(conn, make([]byte, len(request))); err != nil {
				t.Errorf("target: %v", err)
			}
			if _, err := conn.Write(Bulk()); err != nil {
				t.Errorf("target: %v", err)
			}
		})
		if got := netcat(t, client, target, []byte(request)); SHA256(got) != SHA256(Bulk()) {
			t.Errorf("the answer has %d bytes, want all %d", len(got), BulkSize)
		}
		wantCleanEnds(t, server, 1)
	})
}

// netcat sends input to target through the client, ends its half, and returns all that came back. nc fails
// when the connection does not end cleanly.
func netcat(t *testing.T, client Client, target string, input []byte) []byte {
	t.Helper()
	addr := netip.MustParseAddrPort(target)
	_, port, err := net.SplitHostPort(target)
	if err != nil {
		t.Fatal(err)
	}
	return MustRun(t, input, "nc.openbsd", "-N", "-X", "5", "-x", client.SOCKS, addr.Addr().String(), port)
}
