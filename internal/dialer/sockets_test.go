package dialer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// connected returns both ends of a connection that sockets know of.
func connected(t *testing.T, s *Sockets) (near, far *net.TCPConn) {
	t.Helper()
	l, port := listen(t, "127.0.0.1")
	near = wantReached(t, New(Options{Sockets: s}), "127.0.0.1:"+port, l)
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = accepted.Close() })
	return near, accepted.(*net.TCPConn)
}

func TestDropEndsConnectionsFromLostAddresses(t *testing.T) {
	s := new(Sockets)
	near, far := connected(t, s)
	if n := s.Drop(); n != 0 {
		t.Errorf("Drop() = %d with all addresses there, want 0", n)
	}
	read := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		read <- err
	}()
	asked := make(map[netip.Addr]int)
	lost := func(ip netip.Addr) bool { asked[ip]++; return false }
	if n := s.dropUnless(lost); n != 1 {
		t.Errorf("dropped %d, want 1", n)
	}
	if asked[netip.MustParseAddr("127.0.0.1")] != 1 {
		t.Errorf("asked for %v, want 127.0.0.1", asked)
	}
	if err := <-read; !errors.Is(err, io.EOF) {
		t.Errorf("Read() = %v, want %v", err, io.EOF)
	}
	if _, err := near.Write([]byte{1}); err == nil {
		t.Error("Write() = nil on a connection that was dropped")
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("Read() of the peer = %v, want %v", err, io.EOF)
	}
}

func TestDropKnowsNothingOfClosedConnections(t *testing.T) {
	s := new(Sockets)
	near, _ := connected(t, s)
	_ = near.Close()
	if n := s.dropUnless(func(netip.Addr) bool { return false }); n != 0 {
		t.Errorf("dropped %d, want 0", n)
	}
	s.Ask()
	s.Relax()
	runtime.KeepAlive(near)
}

func TestOwnership(t *testing.T) {
	owned := ownership()
	for _, tt := range []struct {
		ip   string
		want bool
	}{{"127.0.0.1", true}, {"127.1.2.3", true}, {"192.0.2.77", false}, {"2001:db8::77", false}} {
		if got := owned(netip.MustParseAddr(tt.ip)); got != tt.want {
			t.Errorf("owned(%s) = %v, want %v", tt.ip, got, tt.want)
		}
	}
}

// Connections that nobody has any more must not pile up.
func TestForgottenConnectionsAreSwept(t *testing.T) {
	s := new(Sockets)
	kept := new(net.TCPConn)
	s.add(kept)
	for range 20 {
		for range 10 * minSweep {
			s.add(new(net.TCPConn))
		}
		runtime.GC()
	}
	s.mu.Lock()
	remembered := len(s.open)
	s.mu.Unlock()
	if most := 15 * minSweep; remembered > most {
		t.Errorf("%d are remembered, want %d at most", remembered, most)
	}
	runtime.GC()
	if all := s.all(); len(all) == 0 || all[0] != kept {
		t.Error("the one that is in use was forgotten")
	}
	runtime.KeepAlive(kept)
}

// attempts is a connect that hangs but for the last time.
type attempts struct {
	mu    sync.Mutex
	times []time.Duration // when each began
	works int             // the one that works, from 1
	began time.Time
}

func (a *attempts) connect(ctx context.Context, _ netip.AddrPort) (transport.StreamConn, error) {
	a.mu.Lock()
	a.times = append(a.times, time.Since(a.began))
	works := len(a.times) == a.works
	a.mu.Unlock()
	if works {
		return nil, nil //nolint:nilnil // nobody looks at it
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestConnectBeginsAnewWithEveryChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := new(Sockets), &attempts{works: 3, began: time.Now()}
		s.renew() // before anybody waits for it
		done := make(chan error, 1)
		go func() {
			_, err := s.persistent(a.connect)(t.Context(), netip.AddrPort{})
			done <- err
		}()
		for range 2 {
			time.Sleep(time.Second)
			s.renew()
		}
		if err := <-done; err != nil {
			t.Errorf("connect = %v, want nil", err)
		}
		if len(a.times) != 3 || a.times[2] != 2*time.Second {
			t.Errorf("attempts at %v, want at 0 s, 1 s and 2 s", a.times)
		}
	})
}

func TestConnectEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := new(Sockets), &attempts{began: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.persistent(a.connect)(ctx, netip.AddrPort{})
		if !errors.Is(err, context.DeadlineExceeded) || len(a.times) != 1 {
			t.Errorf("connect = %v after %d attempts, want a timeout after 1", err, len(a.times))
		}
		s.renew()
	})
}

// What fails by itself is not tried again.
func TestConnectFailsOnce(t *testing.T) {
	s, tries := new(Sockets), 0
	_, err := s.persistent(func(context.Context, netip.AddrPort) (transport.StreamConn, error) {
		tries++
		return nil, io.ErrUnexpectedEOF
	})(t.Context(), netip.AddrPort{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || tries != 1 {
		t.Errorf("connect = %v after %d attempts, want %v after 1", err, tries, io.ErrUnexpectedEOF)
	}
}

// Without a network attempts fail at once, those under way too, and go on with the next one.
func TestConnectWithoutANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := new(Sockets), &attempts{works: 2, began: time.Now()}
		connect := s.persistent(a.connect)
		time.AfterFunc(time.Second, s.rest)
		for range 2 {
			if _, err := connect(t.Context(), netip.AddrPort{}); !errors.Is(err, transport.ErrNoNetwork) {
				t.Errorf("connect = %v, want %v", err, transport.ErrNoNetwork)
			}
			if took := time.Since(a.began); took != time.Second || len(a.times) != 1 {
				t.Errorf("%d attempts after %v, want 1 after 1 s", len(a.times), took)
			}
		}
		s.renew()
		if _, err := connect(t.Context(), netip.AddrPort{}); err != nil {
			t.Errorf("connect = %v after the network came back, want nil", err)
		}
	})
}

func TestDialerWithoutANetwork(t *testing.T) {
	l, port := listen(t, "127.0.0.1")
	s := new(Sockets)
	d := New(Options{Sockets: s})
	other := New(Options{Sockets: s, Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}})
	d.Rest()
	dial := func(d *Dialer, addr string) error {
		_, err := d.DialStream(within(t), addr)
		return err
	}
	_, lookupErr := other.LookupAddrs(within(t), "host.test")
	_, listenErr := other.ListenPacket(within(t), "udp4")
	for what, err := range map[string]error{
		"an address": dial(d, "127.0.0.1:"+port), "a name": dial(other, "host.test:"+port),
		"a lookup": lookupErr, "a socket": listenErr,
	} {
		if !errors.Is(err, transport.ErrNoNetwork) || !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("%s: %v, want %v", what, err, transport.ErrNoNetwork)
		}
	}
	d.Renew()
	wantReached(t, other, "127.0.0.1:"+port, l)
}

// What was known of a name is no reason to try without a network, nor is a lookup under way.
func TestRestEndsLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &names{}
		n.set(found{}, found{after: ever})
		d := New(Options{})
		d.resolver.query = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			if d.sockets.resting() {
				return nil, transport.ErrNoNetwork
			}
			return n.query(ctx, network, host)
		}
		old := record{addrs: ips("1.1.1.1"), stale: time.Now().Add(time.Hour)}
		d.resolver.known.store(question{"h", ipv4}, old)
		time.AfterFunc(time.Second, d.Rest)
		began := time.Now()
		_, err := d.resolver.lookup(t.Context(), question{"h", ipv4})
		if took := time.Since(began); !errors.Is(err, transport.ErrNoNetwork) || took != time.Second {
			t.Errorf("lookup = %v after %v, want %v after 1 s", err, took, transport.ErrNoNetwork)
		}
	})
}
