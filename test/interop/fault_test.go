//go:build interop

package interop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"
)

// failTimeout is the longest that a flow may take to fail.
const failTimeout = 15 * time.Second

// socksFailure is curl's status for a SOCKS reply that is no success.
const socksFailure = 97

// TestCutIsAReset cuts the WebSocket in the middle of a download that has no length. The application must not
// take what arrived for the whole.
func TestCutIsAReset(t *testing.T) {
	onEveryHost(t, func(t *testing.T, host netip.Addr) {
		server := programs.StartServer(t, host, Ciphers[0])
		testCut(t, host, server, programs.StartClient(t, host, server))
	})
}

func testCut(t *testing.T, host netip.Addr, server *Server, client Client) {
	t.Helper()
	target := StartTCP(t, host, func(conn *net.TCPConn) {
		for data := Bulk(); ; {
			if _, err := conn.Write(data); err != nil {
				return
			}
		}
	})
	conn, err := DialSOCKS(t.Context(), client.SOCKS, netip.MustParseAddrPort(target))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(failTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, conn, BulkSize); err != nil {
		t.Fatal(err)
	}
	server.Bridge.Cut()
	if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after the cut = %v, want %v", err, syscall.ECONNRESET)
	}
}

// TestRefusedTarget asks for a port where nobody listens.
func TestRefusedTarget(t *testing.T) {
	onEveryHost(t, func(t *testing.T, host netip.Addr) {
		server := programs.StartServer(t, host, Ciphers[0])
		client := programs.StartClient(t, host, server)
		wantCurlFails(t, client, "http://"+freeAddr(t, host)+"/", 1)
	})
}

// TestUpstreamFailures breaks the way to the server, and expects a SOCKS reply and the cause in the log.
func TestUpstreamFailures(t *testing.T) {
	host := Loopback[0]
	tests := []struct {
		name  string
		spoil func(t *testing.T, server *Server)
		log   string // lower case
	}{
		{"nobody listens", func(t *testing.T, s *Server) { s.Addr = freeAddr(t, host) }, "refused"},
		{"unknown CA", func(t *testing.T, s *Server) { s.CA = NewCertificate(t).CA }, "certificate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := programs.StartServer(t, host, Ciphers[0])
			test.spoil(t, server)
			client := programs.StartClient(t, host, server)
			wantCurlFails(t, client, "http://"+StartWeb(t, host)+"/bulk", socksFailure)
			if !strings.Contains(strings.ToLower(client.Output()), test.log) {
				t.Errorf("the log does not name %q", test.log)
			}
		})
	}
}

// TestWrongSecret meets a server that cannot read the client and says nothing, as Shadowsocks servers do.
func TestWrongSecret(t *testing.T) {
	host := Loopback[0]
	server := programs.StartServer(t, host, Ciphers[0])
	server.Secret = "not " + secret
	client := programs.StartClient(t, host, server)
	result := Run(t, nil, "curl", "-sS", "-m", "20", "--socks5-hostname", client.SOCKS,
		"http://"+StartWeb(t, host)+"/bulk")
	if result.Code == 0 || len(result.Output) != 0 {
		t.Errorf("curl ended with status %d after %d bytes, want a failure", result.Code, len(result.Output))
	}
	wantNoSecret(t, client, server)
}

// wantNoSecret searches the log of the client for what must not be in it.
func wantNoSecret(t *testing.T, client Client, server *Server) {
	t.Helper()
	log := client.Output()
	for _, private := range []string{server.Secret, path.Dir(StreamPath), otherQuery} {
		if strings.Contains(log, private) {
			t.Errorf("the log holds %q", private)
		}
	}
}

// wantCurlFails fetches url within failTimeout. A status of 1 stands for any failure.
func wantCurlFails(t *testing.T, client Client, url string, status int) {
	t.Helper()
	began := time.Now()
	result := Run(t, nil, "curl", "-sS", "--socks5-hostname", client.SOCKS, url)
	if took := time.Since(began); took > failTimeout {
		t.Errorf("curl failed after %v, want within %v", took, failTimeout)
	}
	if result.Code == 0 || status != 1 && result.Code != status {
		t.Errorf("curl ended with status %d (%s), want %d", result.Code, result.Messages, status)
	}
}
