//go:build unix

package relay

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// cpuBytes is what one operation moves: enough for the opening of the flow not to count.
const cpuBytes = 256 << 20

// BenchmarkClientCPU reports the processor time of the client alone for each GB: one operation is one flow
// whose application, server and target are in another process.
func BenchmarkClientCPU(b *testing.B) {
	for _, row := range []struct {
		name   string
		upload bool
	}{{"upload", true}, {"download", false}} {
		for _, cipher := range []string{"chacha20-ietf-poly1305", "aes-256-gcm"} {
			b.Run(row.name+"/"+cipher, func(b *testing.B) { benchCPU(b, cipher, row.upload) })
		}
	}
}

func benchCPU(b *testing.B, cipher string, upload bool) {
	p := startPeer(b, cipher)
	up := p.upstream(b)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	o := order{Addr: l.Addr().String(), Bytes: cpuBytes, Upload: upload}
	target := map[bool]string{true: p.Sink, false: p.Source}[upload]
	b.SetBytes(cpuBytes)
	before, flows := cpuTime(b), 0
	for b.Loop() {
		flows++
		if err := p.orders.Encode(o); err != nil {
			b.Fatal(err)
		}
		client, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		conn, err := up.DialStream(b.Context(), target)
		if err != nil {
			b.Fatal(err)
		}
		r := Streams(context.Background(), client.(transport.StreamConn), conn, Limits{})
		if moved := r.Sent + r.Received; moved < cpuBytes {
			b.Fatalf("Streams = %+v, want %d bytes moved", r, int64(cpuBytes))
		}
		var done int64
		if err := p.answers.Decode(&done); err != nil {
			b.Fatal(err)
		}
	}
	spent := cpuTime(b) - before
	b.ReportMetric(spent.Seconds()/(float64(flows)*cpuBytes/1e9), "cpu-s/GB")
}

// cpuTime is what this process has spent, in its own code and in the kernel.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
