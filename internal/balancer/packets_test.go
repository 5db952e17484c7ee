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
	err, open := <-f.answers
	if !open {
		return 0, nil, net.ErrClosed
	}
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

// read has the upstream answer, and reads that.
func read(t *testing.T, conn net.PacketConn, from *fakePackets) {
	t.Helper()
	go func() { from.sockets[len(from.sockets)-1].answers <- nil }()
	if _, _, err := conn.ReadFrom(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
}

// An association that nothing answers moves to another path. If there is an answer, the path before is to
// blame, and all others leave it too.
func TestSilentAssociationMoves(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, trouble *[]int) {
		other := listen(t, b)
		defer other.Close()
		conn := listen(t, b)
		defer conn.Close()
		got := make(chan error, 1)
		go func() { // as relay does, it waits all the while
			_, _, err := conn.ReadFrom(make([]byte, 100))
			got <- err
		}()
		write(t, conn, "10.0.0.1:53")
		time.Sleep(packetSilence - ms)
		write(t, conn, "10.0.0.1:53")
		time.Sleep(ms)
		write(t, conn, "10.0.0.1:53")
		synctest.Wait()
		if upstreamOf(conn, ups) != ups[1] || len(ups[1].sockets) != 1 || len(ups[1].sockets[0].sent) != 1 {
			t.Fatal("the association did not move, or its packet was lost")
		}
		if ups[0].record.Status(time.Now()).Cooling || !slices.Equal(*trouble, []int{0}) {
			t.Errorf("a path was blamed for what may be the target's fault; trouble %v", *trouble)
		}
		ups[1].sockets[0].answers <- nil
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if !ups[0].record.Status(time.Now()).Cooling {
			t.Error("the silent path is not cooling although another one gave an answer")
		}
		b.packets.look(time.Now())
		if _, err := other.WriteTo([]byte("query"), udpTarget("10.0.0.1:53")); !errors.Is(err, errMoved) {
			t.Errorf("WriteTo() of another association = %v, want %v", err, errMoved)
		}
		if got := associations(b); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("%v associations counted, want 1 and 1", got)
		}
	})
}

// A target that says nothing moves its association once to each path, and moves nobody else.
func TestSilentTargetIsNoPathsFault(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
		conn := listen(t, b)
		defer conn.Close()
		for range 20 {
			write(t, conn, "10.0.0.1:53")
			time.Sleep(maxPacketSilence)
		}
		for _, f := range ups {
			if s := f.record.Status(time.Now()); s.Cooling || len(f.sockets) != 1 {
				t.Errorf("%s: %d sockets, status %+v", f.name, len(f.sockets), s)
			}
		}
		read(t, conn, ups[1]) // from now on it may move again
		write(t, conn, "10.0.0.1:53")
		time.Sleep(maxPacketSilence)
		write(t, conn, "10.0.0.1:53")
		if len(ups[0].sockets) != 2 {
			t.Error("it did not move again after an answer")
		}
	})
}

// Some targets answer now and then. Their associations are left alone once that is known, and no path is
// blamed for it.
func TestRareAnswers(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
		conn := listen(t, b)
		defer conn.Close()
		for i := range 200 {
			write(t, conn, "10.0.0.1:5004")
			time.Sleep(500 * ms)
			if i%10 == 9 {
				read(t, conn, upstreamOf(conn, ups))
			}
		}
		for _, f := range ups {
			if s := f.record.Status(time.Now()); s.Cooling || len(f.sockets) > 2 {
				t.Errorf("%s: %d sockets, status %+v", f.name, len(f.sockets), s)
			}
		}
	})
}

// Two targets that say nothing are not to blame where there is no other path to ask.
func TestStalledPathCools(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
		ups[1].record.FlowFailed(time.Now(), io.ErrUnexpectedEOF)
		conn := listen(t, b)
		defer conn.Close()
		for _, target := range []string{"10.0.0.1:53", "10.0.0.2:53", "10.0.0.1:53"} {
			write(t, conn, target)
			time.Sleep(packetSilence)
		}
		if !ups[0].record.Status(time.Now()).Cooling || len(ups[1].sockets) > 0 {
			t.Error("the path is not cooling, or one that is not known to work was used")
		}
	})
}

func TestMoveToAPathThatFails(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
		conn := listen(t, b)
		defer conn.Close()
		ups[1].listen = refuse
		write(t, conn, "10.0.0.1:53")
		time.Sleep(packetSilence)
		write(t, conn, "10.0.0.1:53")
		if got := conn.(transport.Carried).Upstream(); got != "a" || len(ups[0].sockets[0].sent) != 2 {
			t.Errorf("carried by %s, which got %q", got, ups[0].sockets[0].sent)
		}
		if !ups[1].record.Status(time.Now()).Cooling {
			t.Error("the path that refused is not cooling")
		}
	})
}

// An answer that comes while an association moves shows that its path was not silent.
func TestAnswerDuringAMove(t *testing.T) {
	for name, late := range map[string]bool{"while the other is dialed": false, "afterwards": true} {
		t.Run(name, func(t *testing.T) {
			withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
				conn := listen(t, b)
				defer conn.Close()
				k := conn.(*packets)
				before := k.home.Load()
				ups[1].listen = func(context.Context) error {
					if !late {
						k.answer(before)
					}
					return nil
				}
				write(t, conn, "10.0.0.1:53")
				time.Sleep(packetSilence)
				write(t, conn, "10.0.0.1:53")
				if late {
					k.answer(before)
				}
				if moved := k.home.Load() != before; moved != late {
					t.Errorf("moved: %v, want %v", moved, late)
				}
				k.answer(k.home.Load())
				if ups[0].record.Status(time.Now()).Cooling {
					t.Error("the path that answered is cooling")
				}
				want := []int{1, 0}
				if late {
					want = []int{0, 1}
				}
				if got := associations(b); !slices.Equal(got, want) {
					t.Errorf("%v associations counted, want %v", got, want)
				}
			})
		})
	}
}

// An association that is closed while it moves leaves nothing open.
func TestCloseEndsAMove(t *testing.T) {
	withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
		conn := listen(t, b)
		ups[1].listen = blackhole
		write(t, conn, "10.0.0.1:53")
		time.Sleep(packetSilence)
		began := time.Now()
		time.AfterFunc(ms, func() { _ = conn.Close() })
		_, _ = conn.WriteTo([]byte("query"), udpTarget("10.0.0.1:53"))
		if took := time.Since(began); took != ms {
			t.Errorf("the move ended after %v", took)
		}
		if got := associations(b); !slices.Equal(got, []int{0, 0}) {
			t.Errorf("%v associations counted, want none", got)
		}
	})
}

// A server that ends an association instead of answering has another secret, or is no server of ours.
func TestRefusedAssociation(t *testing.T) {
	tests := map[string]struct {
		before func(t *testing.T, conn net.PacketConn, up *fakePackets)
		want   bool
	}{
		"at once": {func(t *testing.T, c net.PacketConn, _ *fakePackets) {
			write(t, c, "10.0.0.1:53")
		}, true},
		"nothing was asked": {func(*testing.T, net.PacketConn, *fakePackets) {}, false},
		"after some time": {func(t *testing.T, c net.PacketConn, _ *fakePackets) {
			write(t, c, "10.0.0.1:53")
			time.Sleep(packetSilence)
		}, false},
		"after an answer": {func(t *testing.T, c net.PacketConn, up *fakePackets) {
			write(t, c, "10.0.0.1:53")
			read(t, c, up)
			write(t, c, "10.0.0.1:53")
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			withPackets(t, func(t *testing.T, b *Balancer, ups []*fakePackets, _ *[]int) {
				conn := listen(t, b)
				defer conn.Close()
				tt.before(t, conn, ups[0])
				go func() { ups[0].sockets[0].answers <- io.EOF }()
				if _, _, err := conn.ReadFrom(make([]byte, 100)); !errors.Is(err, io.EOF) {
					t.Errorf("ReadFrom() = %v, want %v", err, io.EOF)
				}
				if got := ups[0].record.Status(time.Now()).Cooling; got != tt.want {
					t.Errorf("cooling = %v, want %v", got, tt.want)
				}
			})
		})
	}
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

func upstreamOf(conn net.PacketConn, ups []*fakePackets) *fakePackets {
	name := conn.(transport.Carried).Upstream()
	return ups[slices.IndexFunc(ups, func(f *fakePackets) bool { return f.name == name })]
}

// associations is how many are on each path, once all is quiet.
func associations(b *Balancer) []int {
	synctest.Wait()
	var n []int
	for _, p := range b.packets.lineup.Load().paths {
		p.mu.Lock()
		n = append(n, len(p.flows))
		p.mu.Unlock()
	}
	return n
}
