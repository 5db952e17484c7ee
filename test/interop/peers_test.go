//go:build interop

package interop

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestPeersStream proves that Caddy, bridge and ss-server work together without the client: when this fails,
// the client is not to blame.
func TestPeersStream(t *testing.T) {
	for _, cipher := range Ciphers {
		t.Run(cipher, func(t *testing.T) {
			onEveryHost(t, func(t *testing.T, host netip.Addr) {
				server := programs.StartServer(t, host, cipher)
				target := StartTCP(t, host, func(conn *net.TCPConn) { _, _ = io.CopyN(conn, conn, BulkSize) })
				got := bytes.Buffer{}
				conn := connectStream(t, server, target)
				sent := make(chan error, 1) // one result
				go func() {
					_, err := conn.Write(Bulk())
					sent <- err
				}()
				if _, err := io.CopyN(&got, conn, BulkSize); err != nil {
					t.Fatalf("read after %d bytes: %v", got.Len(), err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				if SHA256(got.Bytes()) != SHA256(Bulk()) {
					t.Error("echo differs from what was sent")
				}
			})
		})
	}
}

// TestPeersPacket proves the same for datagrams.
func TestPeersPacket(t *testing.T) {
	for _, cipher := range Ciphers {
		t.Run(cipher, func(t *testing.T) {
			onEveryHost(t, func(t *testing.T, host netip.Addr) {
				server := programs.StartServer(t, host, cipher)
				key := newKeyOf(t, server)
				ws := dialServer(t, server, server.PacketURL())
				target := netip.MustParseAddrPort(StartEcho(t, host))
				want := append(appendSOCKSAddr(nil, target), "one datagram"...)
				packet, err := key.SealPacket(want)
				if err != nil {
					t.Fatal(err)
				}
				if err := ws.WriteMessage(websocket.BinaryMessage, packet); err != nil {
					t.Fatal(err)
				}
				_, reply, err := ws.ReadMessage()
				if err != nil {
					t.Fatal(err)
				}
				if got, err := key.OpenPacket(reply); err != nil || !bytes.Equal(got, want) {
					t.Errorf("OpenPacket = %q, %v, want %q, which was sent", got, err, want)
				}
			})
		})
	}
}

// TestPeersHalfClose proves that the half-closing server ends the halves of a flow apart, behind Caddy as
// well.
func TestPeersHalfClose(t *testing.T) {
	onEveryHost(t, func(t *testing.T, host netip.Addr) {
		server := programs.StartHalfClosingServer(t, host, "chacha20-ietf-poly1305")
		conn := connectStream(t, server, StartTCP(t, host, answerAfterEnd(t)))
		if _, err := io.WriteString(conn, "request"); err != nil {
			t.Fatal(err)
		}
		if err := sendClose(conn.ws); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if err != nil || SHA256(got) != SHA256(Bulk()) {
			t.Errorf("ReadAll = %d bytes, %v, want all %d", len(got), err, BulkSize)
		}
	})
}

// streamProbe is a Shadowsocks stream to a server, spoken by the suite's own codec.
type streamProbe struct {
	io.Reader
	io.Writer

	ws *websocket.Conn
}

func connectStream(t *testing.T, server *Server, target string) streamProbe {
	t.Helper()
	ws := dialServer(t, server, server.StreamURL())
	key := newKeyOf(t, server)
	w, err := key.NewWriter(messageWriter{ws})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(appendSOCKSAddr(nil, netip.MustParseAddrPort(target))); err != nil {
		t.Fatal(err)
	}
	return streamProbe{key.NewReader(&messageReader{ws: ws}), w, ws}
}

func newKeyOf(t *testing.T, server *Server) shadowKey {
	t.Helper()
	key, err := newShadowKey(server.Cipher, server.Secret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func dialServer(t *testing.T, server *Server, url string) *websocket.Conn {
	t.Helper()
	pem, err := os.ReadFile(server.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool}, HandshakeTimeout: startTimeout}
	ws, response, err := dialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	_ = response.Body.Close() // empty
	t.Cleanup(func() { _ = ws.Close() })
	if err := ws.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	ws.SetCloseHandler(func(int, string) error { return nil })
	return ws
}

// messageWriter sends every Write as one binary message.
type messageWriter struct{ ws *websocket.Conn }

func (w messageWriter) Write(p []byte) (int, error) {
	return len(p), w.ws.WriteMessage(websocket.BinaryMessage, p)
}

// messageReader reads the bytes of all messages; a Close frame is the end.
type messageReader struct {
	ws      *websocket.Conn
	message io.Reader
}

func (r *messageReader) Read(p []byte) (int, error) {
	for {
		if r.message != nil {
			n, err := r.message.Read(p)
			if err == io.EOF {
				r.message, err = nil, nil
			}
			if n > 0 || err != nil {
				return n, err
			}
		}
		_, message, err := r.ws.NextReader()
		if isCloseFrame(err) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, err
		}
		r.message = message
	}
}

// answerAfterEnd reads to the client's FIN and answers Bulk after that.
func answerAfterEnd(t *testing.T) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("target: read to the client's end: %v", err)
			return
		}
		if _, err := conn.Write(Bulk()); err != nil {
			t.Errorf("target: answer after the client's end: %v", err)
		}
	}
}
