package h3

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

// nat is a box between client and server that forwards packets from a port of its own.
type nat struct {
	t       *testing.T
	inside  *net.UDPConn
	server  *net.UDPAddr
	client  atomic.Pointer[net.UDPAddr]
	outside atomic.Pointer[net.UDPConn]
	blocked atomic.Bool // drops everything
	running sync.WaitGroup
	ports   []*net.UDPConn
}

func newNAT(t *testing.T, server netip.AddrPort) *nat {
	t.Helper()
	n := &nat{t: t, inside: bind(t), server: net.UDPAddrFromAddrPort(server)}
	n.rebind()
	n.running.Go(n.outward)
	t.Cleanup(func() {
		_ = n.inside.Close()
		for _, p := range n.ports {
			_ = p.Close()
		}
		n.running.Wait()
	})
	return n
}

func bind(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback4.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rebind sends from a new port from now on; what comes to the old one is lost.
func (n *nat) rebind() {
	port := bind(n.t)
	n.ports = append(n.ports, port)
	n.outside.Store(port)
	n.running.Go(func() { n.inward(port) })
}

func (n *nat) outward() {
	buf := make([]byte, 64<<10)
	for {
		size, from, err := n.inside.ReadFromUDP(buf)
		if err != nil {
			return
		}
		n.client.Store(from)
		if !n.blocked.Load() {
			_, _ = n.outside.Load().WriteToUDP(buf[:size], n.server)
		}
	}
}

func (n *nat) inward(port *net.UDPConn) {
	buf := make([]byte, 64<<10)
	for {
		size, _, err := port.ReadFromUDP(buf)
		if err != nil {
			return
		}
		if to := n.client.Load(); to != nil && port == n.outside.Load() && !n.blocked.Load() {
			_, _ = n.inside.WriteToUDP(buf[:size], to)
		}
	}
}

// openThrough returns both ends of a stream that passes the box.
func openThrough(t *testing.T, n *nat, s *server, d *Dialer) (*Stream, *farStream) {
	t.Helper()
	u := s.url()
	u.Host = n.inside.LocalAddr().String()
	near, err := dial(t, d, u)
	if err != nil {
		t.Fatal(err)
	}
	return near.(*Stream), <-s.opened
}

// throughNAT returns a box before the server, and a client that knows the box alone.
func throughNAT(t *testing.T, s *server) (*nat, *Dialer) {
	t.Helper()
	n := newNAT(t, s.addr)
	direct := s.url()
	direct.Host = n.inside.LocalAddr().String()
	d := s.client()
	d.pool.Dial = func(ctx context.Context) (carrier.Session, error) { return d.connect(ctx, direct) }
	return n, d
}

func TestNATRebinding(t *testing.T) {
	const size, rebinds = 4 << 20, 4
	s := newServer(t).start()
	n, d := throughNAT(t, s)
	// During a download we may have nothing to say that would show the server our new address, until the next
	// keep-alive.
	d.quic.KeepAlivePeriod = 200 * time.Millisecond
	near, far := openThrough(t, n, s, d)
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i >> 8)
	}
	for _, way := range []struct {
		name string
		from io.Writer
		to   io.Reader
	}{{"up", near, far}, {"down", far, near}} {
		wrote := make(chan error, 1)
		go func() {
			_, err := way.from.Write(want)
			wrote <- err
		}()
		sum := sha256.New()
		for range rebinds {
			if _, err := io.CopyN(sum, way.to, size/rebinds); err != nil {
				t.Fatalf("%s: %v", way.name, err)
			}
			n.rebind()
		}
		if err := <-wrote; err != nil {
			t.Fatalf("%s: %v", way.name, err)
		}
		if [sha256.Size]byte(sum.Sum(nil)) != sha256.Sum256(want) {
			t.Errorf("%s: the bytes that came are not those that were sent", way.name)
		}
	}
	if got := s.accepted(); got != 1 {
		t.Errorf("connections = %d, want 1", got)
	}
}

func TestSilentConnectionEnds(t *testing.T) {
	s := newServer(t).start()
	n, d := throughNAT(t, s)
	d.quic.KeepAlivePeriod = 200 * time.Millisecond
	near, _ := openThrough(t, n, s, d)
	began := time.Now()
	n.blocked.Store(true)
	_, err := near.Read(make([]byte, 1))
	wantBroken(t, "read on a silent connection", err)
	if lost, ok := errors.AsType[*ConnError](err); !ok || !errors.Is(lost.Err, ErrSilent) {
		t.Errorf("read on a silent connection = %v, want %v", err, ErrSilent)
	}
	// Four ticks of half a keep-alive, and no less.
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("connection ended after %v", took)
	}
	if _, err := near.c.Open(t.Context(), s.url(), nil); !errors.Is(err, carrier.ErrRetry) {
		t.Errorf("open on a silent connection = %v, want %v", err, carrier.ErrRetry)
	}
}

func TestIdleConnectionIsKeptAlive(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	d.quic.KeepAlivePeriod = 50 * time.Millisecond
	near, far := s.open(d)
	_ = far.Close()
	_ = near.Close()
	untilIdle(t, near.c)
	before := near.c.link.conn.ConnectionStats().PacketsReceived
	until(t, "answers to ten keep-alives", func() bool {
		return near.c.link.conn.ConnectionStats().PacketsReceived >= before+10 || near.c.Ended()
	})
	if near.c.Ended() {
		t.Errorf("idle connection ended: %v", near.c.lost())
	}
}

func TestSilence(t *testing.T) {
	var s silence
	looks := []struct {
		packets uint64
		dead    bool
	}{{5, false}, {5, false}, {5, false}, {6, false}, {6, false}, {6, false}, {6, false}, {6, true}}
	for i, look := range looks {
		if got := s.lasts(look.packets, silentTicks); got != look.dead {
			t.Errorf("look %d: lasts(%d) = %v, want %v", i, look.packets, got, look.dead)
		}
	}
}

func TestPatience(t *testing.T) {
	tests := []struct {
		name      string
		rtt, vary time.Duration
		want      int
	}{
		{"fast", time.Millisecond, time.Millisecond, silentTicks},
		{"satellite", 600 * time.Millisecond, 100 * time.Millisecond, silentTicks},
		{"so slow that keep-alives come late", 3 * time.Second, time.Second, 15},
	}
	for _, tt := range tests {
		s := quic.ConnectionStats{SmoothedRTT: tt.rtt, MeanDeviation: tt.vary}
		if got := patienceFor(s, keepAlive/2); got != tt.want {
			t.Errorf("%s: patienceFor(%v, %v) = %d, want %d", tt.name, tt.rtt, tt.vary, got, tt.want)
		}
	}
}

func TestVolume(t *testing.T) {
	var v volume
	steps := []struct {
		name  string
		total uint64
		tick  bool
		bulk  bool
	}{
		{"nothing", 0, true, false},
		{"little", bulkVolume - 1, false, false},
		{"much since the last look", bulkVolume, false, true},
		{"much before the last look", bulkVolume, true, true},
		{"nothing since", bulkVolume, true, false},
	}
	for _, step := range steps {
		if step.tick {
			v.tick(step.total)
		}
		if got := v.bulk(step.total); got != step.bulk {
			t.Errorf("%s: bulk(%d) = %v, want %v", step.name, step.total, got, step.bulk)
		}
	}
}
