package upstream_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h2"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h3"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// Ready connections are pinged soon here, and each time again once the limit for the answer has passed.
const (
	standbyPing = 30 * time.Millisecond
	standbyPong = time.Second
)

var modes = map[string]carrier.Mode{"h1": carrier.H1, "h2": carrier.H2, "h3": carrier.H3}

// over moves the upstream to one carrier of a server that speaks all.
func over(t *testing.T, s *outlinetest.Server, mode carrier.Mode) edit {
	t.Helper()
	options := carrier.TLSOptions{RootCAs: s.CertPool(), Sessions: carrier.NewSessions()}
	sockets := dialer.New(dialer.Options{})
	endpoint := func(raw string) *carrier.Endpoint {
		target, err := carrier.ParseTarget(raw)
		if err != nil {
			t.Fatal(err)
		}
		target.Modes = []carrier.Mode{mode}
		dialers := make(map[carrier.Mode]carrier.Dialer)
		switch mode {
		case carrier.H1:
			dialers[mode] = &h1.Dialer{Net: sockets, TLS: options.Config("http/1.1")}
		case carrier.H2:
			d := h2.NewDialer(target.URL, h2.Config{Net: sockets, TLS: options.Config("h2")})
			t.Cleanup(func() { _ = d.Close() })
			dialers[mode] = d
		case carrier.H3:
			d := h3.NewDialer(target.URL, h3.Config{Net: sockets, TLS: options.Config("h3")})
			t.Cleanup(func() { _ = d.Close() })
			dialers[mode] = d
		}
		return &carrier.Endpoint{Target: target, Dialers: dialers}
	}
	return func(c *upstream.Config) {
		c.Stream, c.Packet = endpoint(s.StreamURL()), endpoint(s.PacketURL())
	}
}

// everyCarrier runs a test with an upstream on each carrier, which is closed after it.
func everyCarrier(t *testing.T, test func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream)) {
	t.Helper()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, outlinetest.Config{
				Protocols: outlinetest.HTTP1 | outlinetest.HTTP2 | outlinetest.HTTP3,
			})
			u := open(t, s, over(t, s, mode), func(c *upstream.Config) {
				c.Standby.Keepalive = true
				c.Standby.KeepaliveInterval, c.Standby.KeepaliveTimeout = standbyPing, standbyPong
			})
			t.Cleanup(func() { _ = u.Close() })
			test(t, s, u)
		})
	}
}

// keep has so many connections ready for streams and for packets, and waits until the server knows.
func keep(t *testing.T, s *outlinetest.Server, u *upstream.Upstream, n int) {
	t.Helper()
	u.KeepStreams(n)
	u.KeepPackets(n)
	waitReady(t, u, n)
	wait(t, s, func(stats outlinetest.Stats) bool { return stats.Live == 2*n })
}

func waitReady(t *testing.T, u *upstream.Upstream, n int) {
	t.Helper()
	timeout := time.After(patience)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		streams, packets := u.Ready()
		if streams == n && packets == n {
			return
		}
		select {
		case <-look.C:
		case <-timeout:
			t.Fatalf("%d streams and %d packet sockets are ready, want %d", streams, packets, n)
		}
	}
}

func wait(t *testing.T, s *outlinetest.Server, ok func(outlinetest.Stats) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Wait(ctx, ok); err != nil {
		stats := s.Stats()
		t.Fatalf("%v: %d handshakes, %d open, %d pings", err, stats.Handshakes, stats.Live, stats.Pings)
	}
}

// A flow on a ready connection waits for the answer alone.
func TestReadyCostsNoRoundTrip(t *testing.T) {
	const trip = 400 * time.Millisecond
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		echo, err := outlinetest.StartEcho("")
		echo = target(t, echo, err)
		datagrams, err := outlinetest.StartUDPEcho("")
		datagrams = target(t, datagrams, err)
		keep(t, s, u, 1)
		if err := s.SetFault(outlinetest.Fault{Delay: trip}); err != nil {
			t.Fatal(err)
		}
		one := func(t *testing.T, exchange func()) {
			t.Helper()
			began := time.Now()
			exchange()
			if took := time.Since(began); took < trip || took >= 2*trip {
				t.Errorf("first answer after %v, want one round trip of %v", took, trip)
			}
		}
		one(t, func() {
			conn := dialTo(t, u, echo.Addr())
			_, _ = io.WriteString(conn, "x")
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Error(err)
			}
		})
		one(t, func() {
			if err := exchange(listen(t, u), udpAddr(t, datagrams.Addr()), []byte("x")); err != nil {
				t.Error(err)
			}
		})
		waitReady(t, u, 1) // others took their places
	})
}

// What is ready is pinged, which the server answers, and then carries flows as any other connection does.
func TestReadyIsPinged(t *testing.T) {
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		echo, err := outlinetest.StartEcho("")
		echo = target(t, echo, err)
		keep(t, s, u, 2)
		wait(t, s, func(stats outlinetest.Stats) bool { return stats.Pings >= 8 })
		if got := s.Stats().Handshakes; got != 4 {
			t.Errorf("%d handshakes, want 4: the same connections", got)
		}
		for range 4 {
			wantEcho(t, dialTo(t, u, echo.Addr()), "after pings")
		}
		if bad := s.Stats().BadStreams; bad != 0 {
			t.Errorf("%d streams did not open on the server, want none", bad)
		}
	})
}

// A reset takes what is ready out at once, and new connections take its place.
func TestReadyDiesWithItsConnection(t *testing.T) {
	t.Parallel() // it mostly waits
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		t.Parallel()
		echo, err := outlinetest.StartEcho("")
		echo = target(t, echo, err)
		keep(t, s, u, 1)
		s.CutAll()
		wait(t, s, func(stats outlinetest.Stats) bool { return stats.Handshakes == 4 && stats.Live == 2 })
		waitReady(t, u, 1)
		for range 2 {
			wantEcho(t, dialTo(t, u, echo.Addr()), "after a reset")
		}
	})
}

// A server that closes what is ready, as one that shuts down does, is believed.
func TestReadyIsClosedByServer(t *testing.T) {
	t.Parallel() // it mostly waits
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		t.Parallel()
		echo, err := outlinetest.StartEcho("")
		echo = target(t, echo, err)
		keep(t, s, u, 1)
		s.CloseAll(1001)
		wait(t, s, func(stats outlinetest.Stats) bool { return stats.Handshakes == 4 && stats.Live == 2 })
		waitReady(t, u, 1)
		wantEcho(t, dialTo(t, u, echo.Addr()), "after a close")
	})
}

// A server that falls silent is found by the pings, and is believed again once it answers.
func TestReadyFindsServerSilent(t *testing.T) {
	t.Parallel() // it mostly waits
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		t.Parallel()
		keep(t, s, u, 1)
		if err := s.SetFault(outlinetest.Fault{Freeze: true}); err != nil {
			t.Fatal(err)
		}
		waitReady(t, u, 0)
		if err := s.SetFault(outlinetest.Fault{}); err != nil {
			t.Fatal(err)
		}
		waitReady(t, u, 1)
	})
}

// What nobody needs any more ends with a Close frame and nothing else.
func TestKeepNone(t *testing.T) {
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		keep(t, s, u, 4)
		keep(t, s, u, 0)
		stats := s.Stats()
		broken := func(c outlinetest.Closing) bool { return c.Code != 1000 }
		if len(stats.Closings) != 8 || slices.ContainsFunc(stats.Closings, broken) {
			t.Errorf("closings = %+v, want 8 with 1000", stats.Closings)
		}
		if len(stats.Mux.Resets)+len(stats.Mux.Violations) != 0 {
			t.Errorf("resets = %v, violations = %v, want none", stats.Mux.Resets, stats.Mux.Violations)
		}
	})
}

// Probes find out whether the server takes new connections, and leave alone what is ready.
func TestProbesDial(t *testing.T) {
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		echo, err := outlinetest.StartEcho("")
		echo = target(t, echo, err)
		keep(t, s, u, 1)
		conn, err := u.ProbeStreams().DialStream(t.Context(), echo.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Abort(conn)
		packets, err := u.ProbePackets().ListenPacket(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer packets.Close()
		wait(t, s, func(stats outlinetest.Stats) bool { return stats.Handshakes == 4 })
		waitReady(t, u, 1) // none was used up
	})
}

// What an upstream does not carry is not kept ready either, and closing it is no trouble.
func TestStandbyOfWhatIsNotCarried(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	u := open(t, s, func(c *upstream.Config) { c.Stream, c.Packet = nil, nil })
	u.KeepStreams(2)
	u.KeepPackets(2)
	waitReady(t, u, 0)
	_, err := u.ProbeStreams().DialStream(t.Context(), "example.test:80")
	if !errors.Is(err, upstream.ErrNotCarried) {
		t.Errorf("probe of streams = %v, want %v", err, upstream.ErrNotCarried)
	}
	if _, err := u.ProbePackets().ListenPacket(t.Context()); !errors.Is(err, upstream.ErrNotCarried) {
		t.Errorf("probe of packets = %v, want %v", err, upstream.ErrNotCarried)
	}
	if err := u.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
	if got := s.Stats().Accepted; got != 0 {
		t.Errorf("%d connections, want none", got)
	}
}

// Close ends what is ready, and the upstream still works without.
func TestCloseUpstream(t *testing.T) {
	everyCarrier(t, func(t *testing.T, s *outlinetest.Server, u *upstream.Upstream) {
		echo, err := outlinetest.StartEcho("")
		echo = target(t, echo, err)
		keep(t, s, u, 2)
		flow := dialTo(t, u, echo.Addr())
		for range 2 {
			if err := u.Close(); err != nil {
				t.Errorf("Close() = %v, want nil", err)
			}
		}
		u.KeepStreams(2)
		waitReady(t, u, 0)
		wantEcho(t, flow, "handed out before")
		wantEcho(t, dialTo(t, u, echo.Addr()), "dialled after")
		wait(t, s, func(stats outlinetest.Stats) bool { return stats.Live <= 2 })
	})
}
