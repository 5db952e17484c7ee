//go:build interop

package interop

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// debugMode is the variable that makes the client tell all about its carriers, except secrets.
const debugMode = "OUTLINE_WS_DEBUG"

// TestStepDown asks for more than the front has, and expects flows over the best that it does have.
func TestStepDown(t *testing.T) {
	t.Setenv(debugMode, "1")
	host := Loopback[0]
	tests := []struct {
		name  string
		start StartFront
		carriage
	}{
		{"no extended CONNECT", programs.StartPlainCaddy, carriage{"h2=1", "1"}},
		{"no extended CONNECT over TCP", programs.StartPlainCaddy, carriage{"h3=1", "3"}},
		{"no HTTP/2", programs.StartOldCaddy, carriage{"h2=1", "1"}},
		{"no HTTP/3 and no HTTP/2", programs.StartOldCaddy, carriage{"h3=1", "1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := StartWholeServer(t, host, Ciphers[0], test.start)
			server.Query = test.flags
			client := programs.StartClient(t, host, server)
			testTransfers(t, host, client)
			testDatagrams(t, host, client)
			testClientEndsFirst(t, host, client)
			wantCleanEnds(t, server, 3)
			wantRequests(t, server, Request{Version: test.version})
			wantNoSecret(t, client, server)
		})
	}
}

// TestStrictFailure insists on what the front does not have: the log says so, and no request reaches the
// bridge in another version.
func TestStrictFailure(t *testing.T) {
	t.Setenv(debugMode, "1")
	host := Loopback[0]
	tests := []struct {
		name  string
		start StartFront
		log   string
	}{
		{"no extended CONNECT", programs.StartPlainCaddy, "does not announce extended CONNECT (RFC 8441)"},
		{"no HTTP/2", programs.StartOldCaddy, "does not speak HTTP/2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := StartWholeServer(t, host, Ciphers[0], test.start)
			server.Query = "h2=only"
			client := programs.StartClient(t, host, server)
			wantStrictFailure(t, client, StartWeb(t, host), test.log)
			if got := server.Bridge.Requests(); len(got) != 0 {
				t.Errorf("requests at the bridge = %v, want none", got)
			}
			wantNoSecret(t, client, server)
		})
	}
}

// TestStrictHTTP3LeavesTCPAlone insists on HTTP/3 where only a TCP port is open.
func TestStrictHTTP3LeavesTCPAlone(t *testing.T) {
	host := Loopback[0]
	var accepted atomic.Int64
	addr := StartTCP(t, host, func(*net.TCPConn) { accepted.Add(1) })
	front := Front{Addr: addr, CA: NewCertificate(t).CA}
	server := &Server{Front: front, Cipher: Ciphers[0], Secret: secret, Query: "h3=only"}
	client := programs.StartClient(t, host, server)
	wantStrictFailure(t, client, StartWeb(t, host), "nothing listens at the server's UDP port")
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d TCP connections reached the server, want none", n)
	}
}

func wantStrictFailure(t *testing.T, client Client, web, cause string) {
	t.Helper()
	wantCurlFails(t, client, "http://"+web+"/bulk", socksFailure)
	if !strings.Contains(client.Output(), cause) {
		t.Errorf("the log does not say %q", cause)
	}
}
