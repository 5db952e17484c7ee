package relay

import (
	"context"
	"io"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

var benchCiphers = []string{"chacha20-ietf-poly1305", "aes-256-gcm", "aes-192-gcm", "aes-128-gcm"}

// benchChunk is what one operation moves.
const benchChunk = 16 << 10

// benchFlow runs a flow through the client's whole stack to one of the peer's targets and returns the
// application's end. The flow is cut at the end of the benchmark.
func benchFlow(b *testing.B, p *peer, target string) io.ReadWriter {
	b.Helper()
	conn, err := p.upstream(b).DialStream(b.Context(), target)
	if err != nil {
		b.Fatal(err)
	}
	app, client := transporttest.TCPPair(b)
	done := make(chan Result, 1)
	go func() { done <- Streams(context.WithoutCancel(b.Context()), client, conn, Limits{}) }()
	b.Cleanup(func() {
		_, _ = transport.Abort(app), transport.Abort(conn)
		<-done
	})
	return app
}

// BenchmarkRelayUpload moves chunks from an application in this process through relay, Shadowsocks,
// WebSocket, TLS and TCP to a server in another.
func BenchmarkRelayUpload(b *testing.B) {
	for _, cipher := range benchCiphers {
		b.Run(cipher, func(b *testing.B) {
			p := startPeer(b, cipher)
			app := benchFlow(b, p, p.Sink)
			chunk := make([]byte, benchChunk)
			b.SetBytes(benchChunk)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := app.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRelayDownload is BenchmarkRelayUpload the other way.
func BenchmarkRelayDownload(b *testing.B) {
	for _, cipher := range benchCiphers {
		b.Run(cipher, func(b *testing.B) {
			p := startPeer(b, cipher)
			app := benchFlow(b, p, p.Source)
			chunk := make([]byte, benchChunk)
			b.SetBytes(benchChunk)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := io.ReadFull(app, chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
