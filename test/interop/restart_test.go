//go:build interop

package interop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// longestSilence is how soon the client has to find a dead connection: 10 s, and a little for a busy machine.
const longestSilence = 12 * time.Second

// longestDoubt is the same where the host of the server says that nothing listens any more: 1 s, and a lot
// for a busy machine.
const longestDoubt = 4 * time.Second

// TestFrontDiesUnderFlows kills the front that many flows share. All of them must break visibly, though a
// dead QUIC server says nothing: its host does, once something is sent to it. New ones work as soon as the
// front is back.
func TestFrontDiesUnderFlows(t *testing.T) {
	tests := []struct {
		name, flags string
		say         string // on one flow, after the kill
		longest     time.Duration
	}{
		{"idle on h2", "h2=only", "", longestSilence},
		{"idle on h3", "h3=only", "", longestSilence},
		{"talking on h3", "h3=only", "are you there?", longestDoubt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testFrontDies(t, test.flags, test.say, test.longest)
		})
	}
}

func testFrontDies(t *testing.T, flags, say string, longest time.Duration) {
	t.Helper()
	const flows = 50
	host := Loopback[0]
	server := StartWholeServer(t, host, Ciphers[0], programs.StartCaddy)
	server.Query = flags
	client := programs.StartClient(t, host, server)
	echo := StartTCP(t, host, func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
	var conns []*net.TCPConn
	for range flows {
		conns = append(conns, openFlow(t, client, echo))
	}
	server.process.Kill()
	began := time.Now()
	if say != "" {
		if _, err := io.WriteString(conns[0], say); err != nil {
			t.Fatal(err)
		}
	}
	for i, conn := range conns {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("flow %d: read = %v, want %v", i, err, syscall.ECONNRESET)
		}
	}
	took := time.Since(began)
	t.Logf("the last flow was reset %v after the kill", took.Round(time.Millisecond))
	if took > longest {
		t.Errorf("the last flow was reset %v after the kill, want %v at most", took, longest)
	}
	server.StartAgain(t)
	openFlow(t, client, echo)
}

// TestFrontDrainsFlows tells a front to end when its flows have, and starts another one in its place. The
// flows that run go on, and new ones find their way.
func TestFrontDrainsFlows(t *testing.T) {
	host := Loopback[0]
	tests := []struct {
		name  string
		start StartFront
		drain syscall.Signal
	}{
		{"nghttpx", StartNghttpx, syscall.SIGQUIT},
		{"haproxy", StartHAProxy, syscall.SIGUSR1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := StartWholeServer(t, host, Ciphers[0], test.start)
			server.Query = "h2=only"
			client := programs.StartClient(t, host, server)
			echo := StartTCP(t, host, func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
			running := openFlow(t, client, echo)
			if err := server.process.cmd.Process.Signal(test.drain); err != nil {
				t.Fatal(err)
			}
			server.process.WaitLeaving(t, server.Addr)
			server.StartAgain(t)
			for range 3 {
				if err := echoOnce(t.Context(), client, echo, Bulk()); err != nil {
					t.Errorf("a new flow: %v", err)
				}
			}
			if err := echoRest(running, Bulk()); err != nil {
				t.Errorf("the flow from before: %v", err)
			}
			wantCleanEnds(t, server, 4)
		})
	}
}

// openFlow opens a flow that has carried a byte both ways.
func openFlow(t *testing.T, client Client, echo string) *net.TCPConn {
	t.Helper()
	conn, err := DialSOCKS(t.Context(), client.SOCKS, netip.MustParseAddrPort(echo))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(commandTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return conn
}
