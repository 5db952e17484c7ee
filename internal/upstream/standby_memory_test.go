package upstream_test

import (
	"crypto/x509"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// serverEnv has the test binary be a server in a process of its own, whose memory does not count.
const serverEnv = "UPSTREAM_TEST_SERVER"

// place is where that server is.
type place struct {
	URL string
	CA  []byte
}

// TestServerProcess is no test but that server. It ends with its standard input.
func TestServerProcess(t *testing.T) {
	if os.Getenv(serverEnv) == "" {
		t.Skip("it is for TestReadyHoldsLittleMemory")
	}
	s := startServer(t, outlinetest.Config{})
	if err := json.NewEncoder(os.Stdout).Encode(place{s.StreamURL(), s.CAPEM()}); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startProcess starts the server and returns an upstream of it.
func startProcess(t *testing.T) *upstream.Upstream {
	t.Helper()
	server := exec.Command(os.Args[0], "-test.run=^TestServerProcess$")
	server.Env = append(os.Environ(), serverEnv+"=1")
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), server.Wait() })
	var at place
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		t.Fatal(err)
	}
	return openPlace(t, at)
}

func openPlace(t *testing.T, at place) *upstream.Upstream {
	t.Helper()
	target, err := carrier.ParseTarget(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(at.CA)
	options := carrier.TLSOptions{RootCAs: roots, Sessions: carrier.NewSessions()}
	cipher, _ := shadowsocks.ParseCipher(ciphers[0])
	key, err := shadowsocks.NewKey(cipher, "secret")
	if err != nil {
		t.Fatal(err)
	}
	return upstream.New(upstream.Config{
		Name: upName, Key: key, DialTimeout: patience,
		Stream: &carrier.Endpoint{Target: target, Dialers: map[carrier.Mode]carrier.Dialer{
			carrier.H1: &h1.Dialer{Net: dialer.New(dialer.Options{}), TLS: options.Config("http/1.1")},
		}},
	})
}

// A ready connection over HTTP/1.1 costs what TLS keeps, a goroutine and little more: no buffers.
func TestReadyHoldsLittleMemory(t *testing.T) {
	const n, limit = 100, 40 << 10
	u := startProcess(t)
	defer u.Close()
	before := memory()
	u.KeepStreams(n)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range patience / (10 * time.Millisecond) {
		if streams, _ := u.Ready(); streams == n {
			break
		}
		<-look.C
	}
	if streams, _ := u.Ready(); streams != n {
		t.Fatalf("%d streams are ready, want %d", streams, n)
	}
	each := (memory() - before) / n
	t.Logf("%d bytes for each of %d ready streams", each, n)
	if each > limit {
		t.Errorf("a ready stream holds %d bytes, want %d at most", each, limit)
	}
}

// memory is what the heap and the stacks hold.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
