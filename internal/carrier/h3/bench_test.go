package h3

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// block is what one frame of a WebSocket carries.
const block = 16 << 10

// benchServer sends without end when the path is /down, and reads all otherwise.
func benchServer(b *testing.B) *server {
	s := newServer(b)
	s.handle = func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		stream, err := w.(http3.HTTPStreamer).HTTPStream()
		if err != nil {
			b.Error(err)
			return
		}
		defer stream.Close()
		if r.URL.Path != "/down" {
			_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, stream, make([]byte, 4*block))
			return
		}
		for p := make([]byte, block); err == nil; {
			_, err = stream.Write(p)
		}
	}
	return s.start()
}

// BenchmarkThroughput moves bytes over loopback; both ends share the machine and the process.
func BenchmarkThroughput(b *testing.B) {
	for _, way := range []string{"up", "down"} {
		b.Run(way, func(b *testing.B) {
			s := benchServer(b)
			u := s.url()
			u.Path = "/" + way
			conn, err := s.client().DialCarrier(context.Background(), u)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			p := make([]byte, block)
			b.SetBytes(block)
			b.ReportAllocs()
			for b.Loop() {
				if way == "up" {
					_, err = conn.Write(p)
				} else {
					_, err = io.ReadFull(conn, p)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen opens and closes streams on a connection that is there.
func BenchmarkOpen(b *testing.B) {
	s := newServer(b)
	s.handle = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	s.requests = make(chan *http.Request)
	go func() {
		for range s.requests {
		}
	}()
	defer close(s.requests)
	s.start()
	d := s.client()
	b.ReportAllocs()
	for b.Loop() {
		conn, err := d.DialCarrier(context.Background(), s.url())
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.Close()
	}
}

// BenchmarkIdleStream reports the memory of an open stream, both ends together.
func BenchmarkIdleStream(b *testing.B) {
	s := newServer(b)
	s.start()
	d := s.client()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var streams []*Stream
	for b.Loop() {
		near, _ := s.open(d)
		<-s.requests
		streams = append(streams, near)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc+after.StackInuse-before.StackInuse)/
		float64(len(streams)), "B/stream")
	for _, near := range streams {
		_ = near.Abort()
	}
}
