package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// fakeSocket is an upstream socket whose server answers when it is told to.
type fakeSocket struct {
	net.PacketConn
	by      string
	answers chan error // what ReadFrom returns
	sent    []string
	closed  sync.Once
}

func (f *fakeSocket) WriteTo(p []byte, _ net.Addr) (int, error) {
	f.sent = append(f.sent, string(p))
	return len(p), nil
}

func (f *fakeSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	err := <-f.answers
	if err != nil {
		return 0, nil, err
	}
	return copy(p, answer), udpTarget("10.0.0.1:53"), nil
}

func (f *fakeSocket) Close() error {
	f.closed.Do(func() { close(f.answers) })
	return nil
}

type udpTarget string

func (udpTarget) Network() string  { return "udp" }
func (a udpTarget) String() string { return string(a) }

// fakePackets opens fake sockets.
type fakePackets struct {
	name    string
	record  *health.Record
	listen  func(ctx context.Context) error
	sockets []*fakeSocket
}

func (f *fakePackets) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if f.listen != nil {
		if err := f.listen(ctx); err != nil {
			return nil, err
		}
	}
	s := &fakeSocket{by: f.name, answers: make(chan error)}
	f.sockets = append(f.sockets, s)
	return s, nil
}

// withPackets runs test with two upstreams that carry UDP.
func withPackets(t *testing.T, test func(t *testing.T, b *Balancer, ups []*fakePackets, trouble *[]int)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var members []Member
		var ups []*fakePackets
		for _, name := range []string{"a", "b"} {
			f := &fakePackets{name: name, record: health.NewRecord(health.Policy{Cooldown: cooldown})}
			ups = append(ups, f)
			members = append(members, Member{
				Name: name, Packet: &Path[transport.PacketListener]{Dialer: f, Health: f.record},
			})
		}
		var trouble []int
		o := testOptions()
		o.Trouble = func(record *health.Record) {
			trouble = append(trouble, slices.IndexFunc(ups, func(f *fakePackets) bool {
				return f.record == record
			}))
		}
		b := New(members, o)
		test(t, b, ups, &trouble)
		_ = b.Close()
	})
}

func listen(t *testing.T, b *Balancer) net.PacketConn {
	t.Helper()
	conn, err := b.ListenPacket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func write(t *testing.T, conn net.PacketConn, to string) {
	t.Helper()
	if _, err := conn.WriteTo([]byte("query"), udpTarget(to)); err != nil {
		t.Fatal(err)
	}
}

func TestAssociationLeavesAPathThatStalls(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, trouble *[]int) {
		conn := listen(t, b)
		for i := range 2 { // two targets that give no answer
			write(t, conn, []string{"10.0.0.1:53", "10.0.0.2:53"}[i])
			time.Sleep(packetSilence + 1)
			write(t, conn, []string{"10.0.0.1:53", "10.0.0.2:53"}[i])
		}
		if !ups[0].record.Status(time.Now()).Cooling || !slices.Equal(*trouble, []int{0, 0}) {
			t.Errorf("the path is not cooling; trouble %v", *trouble)
		}
		b.packets.look(time.Now())
		if _, err := conn.WriteTo([]byte("query"), udpTarget("10.0.0.1:53")); !errors.Is(err, errMoved) {
			t.Errorf("WriteTo() = %v, want %v", err, errMoved)
		}
		_ = conn.Close()
		next := listen(t, b)
		defer next.Close()
		if got := next.(transport.Carried).Upstream(); got != "b" {
			t.Errorf("the next socket is %s's, want b's", got)
		}
		paths := b.packets.lineup.Load().paths
		if n := len(paths[0].flows) + len(paths[1].flows); n != 1 {
			t.Errorf("%d associations counted, want 1", n)
		}
	})
}

// One answer is enough to show that the path works.
func TestAnsweredAssociationStays(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, trouble *[]int) {
		conn := listen(t, b)
		defer conn.Close()
		for range 20 {
			write(t, conn, "10.0.0.1:53")
			time.Sleep(packetSilence - 1)
			go func() { ups[0].sockets[0].answers <- nil }()
			if _, _, err := conn.ReadFrom(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		s := ups[0].record.Status(time.Now())
		if s.Cooling || s.State != health.Up || len(*trouble) > 0 {
			t.Errorf("status = %+v, trouble %v", s, *trouble)
		}
	})
}

// With no better path, an association stays on one that looks bad.
func TestAssociationHasNowhereToGo(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
		conn := listen(t, b)
		defer conn.Close()
		for _, f := range ups {
			f.record.FlowFailed(time.Now(), io.ErrUnexpectedEOF)
		}
		b.packets.look(time.Now())
		write(t, conn, "10.0.0.1:53")
	})
}

func TestBrokenAssociationIsTrouble(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, trouble *[]int) {
		for err, want := range map[error]int{io.EOF: 0, net.ErrClosed: 0, io.ErrUnexpectedEOF: 1} {
			*trouble = nil
			conn := listen(t, b)
			go func() { ups[0].sockets[len(ups[0].sockets)-1].answers <- err }()
			if _, _, got := conn.ReadFrom(make([]byte, 100)); !errors.Is(got, err) {
				t.Errorf("ReadFrom() = %v, want %v", got, err)
			}
			if len(*trouble) != want {
				t.Errorf("%v: trouble %v", err, *trouble)
			}
			_ = conn.Close()
		}
	})
}

func TestSilentUpstreamIsOvertakenForPackets(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
		ups[0].listen = blackhole
		conn := listen(t, b)
		defer conn.Close()
		if got := conn.(transport.Carried).Upstream(); got != "b" {
			t.Errorf("carried by %s, want b", got)
		}
	})
}
