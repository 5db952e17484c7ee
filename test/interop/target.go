package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"
)

// BulkSize is the size of every bulk transfer in the suite.
const BulkSize = 10 << 20

// Bulk is BulkSize bytes that look random and are the same in every run.
func Bulk() []byte {
	data := make([]byte, BulkSize)
	rand.NewChaCha8([32]byte([]byte("outline-cli-ws interop bulk data"))).Read(data)
	return data
}

// SHA256 is the sum of data in hexadecimal.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// StartWeb serves HTTP on host and returns the address. GET /bulk answers Bulk; GET /unsized too, without a
// length, so that only the end of the connection ends the body; POST /sum answers the SHA-256 of the body.
func StartWeb(t *testing.T, host netip.Addr) string {
	t.Helper()
	bulk := Bulk()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /bulk", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(bulk)))
		_, _ = w.Write(bulk)
	})
	mux.HandleFunc("GET /unsized", func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.0 200 OK\r\n\r\n")
		_, _ = buffered.Write(bulk)
		_ = buffered.Flush()
	})
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		if _, err := io.Copy(hash, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, hex.EncodeToString(hash.Sum(nil)))
	})
	listener := listen(t, host)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{}) // closed when Serve has returned
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return listener.Addr().String()
}

// StartTCP serves every connection on host with serve and returns the address. serve need not close.
func StartTCP(t *testing.T, host netip.Addr, serve func(*net.TCPConn)) string {
	t.Helper()
	listener := listen(t, host)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed below
			}
			running.Go(func() {
				defer conn.Close()
				// Nothing in the suite takes longer; a peer that never ends cannot hold the clean-up.
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				serve(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		running.Wait()
	})
	return listener.Addr().String()
}

// StartEcho answers every datagram on host with itself and returns the address.
func StartEcho(t *testing.T, host netip.Addr) string {
	t.Helper()
	return startUDP(t, host, func(datagram []byte) []byte { return datagram })
}

// startUDP answers every datagram on host with what answer makes of it; nil is no answer.
func startUDP(t *testing.T, host netip.Addr, answer func([]byte) []byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		buf := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP error of an earlier answer
			}
			if reply := answer(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		running.Wait()
	})
	return conn.LocalAddr().String()
}

func listen(t *testing.T, host netip.Addr) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	return listener
}
