//go:build interop

package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestCurl moves bulk data both ways with every cipher, to targets that are named by address.
func TestCurl(t *testing.T) {
	for _, cipher := range Ciphers {
		t.Run(cipher, func(t *testing.T) {
			onEveryHost(t, func(t *testing.T, host netip.Addr) {
				server := programs.StartServer(t, host, cipher)
				client := programs.StartClient(t, host, server)
				testCurl(t, client, StartWeb(t, host))
				wantCleanEnds(t, server, 4)
			})
		})
	}
}

// testCurl downloads and uploads through client, with the name of the target resolved on either side.
func testCurl(t *testing.T, client Client, web string) {
	t.Helper()
	for _, option := range []string{"--socks5-hostname", "--socks5"} {
		download(t, web, option, client.SOCKS)
		upload(t, web, option, client.SOCKS)
	}
}

// download fetches bulk data with curl, to which proxy are the options that send it through the client.
func download(t *testing.T, web string, proxy ...string) {
	t.Helper()
	got := MustRun(t, nil, "curl", append(proxy, "-sS", "--fail", "http://"+web+"/unsized")...)
	if SHA256(got) != SHA256(Bulk()) {
		t.Errorf("curl %q: download of %d bytes differs from the %d sent", proxy, len(got), BulkSize)
	}
}

// upload is download the other way.
func upload(t *testing.T, web string, proxy ...string) {
	t.Helper()
	sum := MustRun(t, Bulk(), "curl", append(proxy, "-sS", "--fail", "http://"+web+"/sum",
		"-H", "Content-Type: application/octet-stream", "--data-binary", "@-")...)
	if want := SHA256(Bulk()); string(sum) != want {
		t.Errorf("curl %q: the target received a body with sum %s, want %s", proxy, sum, want)
	}
}

// TestCurlByName lets the server resolve the target's name.
func TestCurlByName(t *testing.T) {
	host := Loopback[0]
	server := programs.StartServer(t, host, Ciphers[0])
	client := programs.StartClient(t, host, server)
	_, port, err := net.SplitHostPort(StartWeb(t, host))
	if err != nil {
		t.Fatal(err)
	}
	got := MustRun(t, nil, "curl", "-sS", "--fail", "--socks5-hostname", client.SOCKS,
		"http://localhost:"+port+"/bulk")
	if SHA256(got) != SHA256(Bulk()) {
		t.Errorf("download of %d bytes differs from the %d of the target", len(got), BulkSize)
	}
}

// TestManyFlows opens flows side by side and expects every resource back.
func TestManyFlows(t *testing.T) {
	const flows, size = 200, 64 << 10
	host := Loopback[0]
	server := programs.StartHalfClosingServer(t, host, Ciphers[0])
	client := programs.StartClient(t, host, server)
	echo := StartTCP(t, host, func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
	before := openFiles(t, client)
	payload := Bulk()[:size]
	var running sync.WaitGroup
	for i := range flows {
		running.Go(func() {
			if err := echoOnce(t.Context(), client, echo, payload); err != nil {
				t.Errorf("flow %d: %v", i, err)
			}
		})
	}
	running.Wait()
	wantCleanEnds(t, server, flows)
	client.WaitFor(t, "close its files", func(context.Context) error {
		if after := openFiles(t, client); after > before {
			return fmt.Errorf("%d files open, %d before the flows", after, before)
		}
		return nil
	})
}

// echoOnce sends payload, ends its half and expects payload back with a clean end.
func echoOnce(ctx context.Context, client Client, echo string, payload []byte) error {
	conn, err := DialSOCKS(ctx, client.SOCKS, netip.MustParseAddrPort(echo))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(commandTimeout)); err != nil {
		return err
	}
	return echoRest(conn, payload)
}

// echoRest is echoOnce on a flow that is open.
func echoRest(conn *net.TCPConn, payload []byte) error {
	var sent sync.WaitGroup
	var sendErr error
	sent.Go(func() {
		if _, sendErr = conn.Write(payload); sendErr == nil {
			sendErr = conn.CloseWrite()
		}
	})
	got, err := io.ReadAll(conn)
	sent.Wait()
	if err != nil {
		return fmt.Errorf("read after %d bytes: %w", len(got), err)
	}
	if sendErr != nil {
		return sendErr
	}
	if SHA256(got) != SHA256(payload) {
		return fmt.Errorf("echo of %d bytes differs from the %d sent", len(got), len(payload))
	}
	return nil
}

// wantCleanEnds waits until n flows are over and checks that every half ended with a Close frame or a FIN.
func wantCleanEnds(t *testing.T, server *Server, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	ends, err := server.Bridge.WaitEnded(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	for i, end := range ends {
		if end.SendErr != nil || end.ReceiveErr != nil {
			t.Errorf("flow %d at the bridge: sent %d, then %v; received %d, then %v; want clean ends",
				i, end.Sent, end.SendErr, end.Received, end.ReceiveErr)
		}
	}
}

func openFiles(t *testing.T, client Client) int {
	t.Helper()
	n, err := client.OpenFiles()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
