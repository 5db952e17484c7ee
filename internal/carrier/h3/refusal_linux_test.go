package h3

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

var hosts = []netip.Addr{loopback4, loopback6}

// closedPort is a port of host where nothing listens.
func closedPort(t *testing.T, host netip.Addr) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
	if err != nil {
		t.Skipf("no socket on %s: %v", host, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// refusedSocket returns a socket for packets to host.
func refusedSocket(t *testing.T, host netip.Addr, unheard func()) *socket {
	t.Helper()
	s, err := listen(t.Context(), new(network), host, unheard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// readOnce returns one packet, or an error when none comes within a time.
func readOnce(s *socket, within time.Duration) (string, error) {
	_ = s.SetReadDeadline(time.Now().Add(within))
	ms := []ipv4.Message{{Buffers: [][]byte{make([]byte, 100)}}}
	if _, err := s.ReadBatch(ms, 0); err != nil {
		return "", err
	}
	return string(ms[0].Buffers[0][:ms[0].N]), nil
}

const packet = "\x41ABCD and more than that"

func TestRefusalIsNoReadError(t *testing.T) {
	for _, host := range hosts {
		to := net.UDPAddrFromAddrPort(closedPort(t, host))
		s := refusedSocket(t, host, nil)
		s.refusals.heard.Store(true)
		if _, _, err := s.WriteMsgUDP([]byte(packet), nil, to); err != nil {
			t.Fatal(err)
		}
		if _, err := readOnce(s, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read = %v, want %v", host, err, os.ErrDeadlineExceeded)
		}
		if !s.refusals.hasCome() {
			t.Errorf("%s: the refusal did not come", host)
		}
		// What comes behind a refusal is read.
		self := netip.AddrPortFrom(host, s.LocalAddr().(*net.UDPAddr).AddrPort().Port())
		for _, a := range []*net.UDPAddr{to, net.UDPAddrFromAddrPort(self)} {
			if _, _, err := s.WriteMsgUDP([]byte(packet), nil, a); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := readOnce(s, patience); got != packet || err != nil {
			t.Errorf("%s: read = %q, %v, want %q", host, got, err, packet)
		}
	}
}

// The report of one packet must not be taken for the failure of the next one.
func TestRefusalIsNoWriteError(t *testing.T) {
	for _, host := range hosts {
		to := net.UDPAddrFromAddrPort(closedPort(t, host))
		failed := 0
		s := refusedSocket(t, host, func() { failed++ })
		for i := range 100 {
			if n, _, err := s.WriteMsgUDP([]byte(packet), nil, to); n != len(packet) || err != nil {
				t.Fatalf("%s: write %d = %d, %v, want %d, nil", host, i, n, err, len(packet))
			}
		}
		if failed == 0 {
			t.Errorf("%s: no refusal was noticed", host)
		}
	}
}

// Reports that nobody takes would fill the receive buffer, and no packet would find room.
func TestReportsLeaveTheReceiveBuffer(t *testing.T) {
	to := net.UDPAddrFromAddrPort(closedPort(t, loopback4))
	s := refusedSocket(t, loopback4, func() {})
	if err := s.SetReadBuffer(8 << 10); err != nil {
		t.Fatal(err)
	}
	big := append([]byte(packet), make([]byte, 1000)...)
	for range 100 {
		if _, _, err := s.WriteMsgUDP(big, nil, to); err != nil {
			t.Fatal(err)
		}
	}
	self := netip.AddrPortFrom(loopback4, s.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	if _, _, err := s.WriteMsgUDP([]byte(packet), nil, net.UDPAddrFromAddrPort(self)); err != nil {
		t.Fatal(err)
	}
	if got, err := readOnce(s, patience); got != packet || err != nil {
		t.Errorf("read = %q, %v, want %q", got, err, packet)
	}
	s.takeReports()
	if s.takeReports() {
		t.Error("reports are left in the queue")
	}
}

// A refusal of what we did not send is none: it may be forged, or meant for somebody who had our port before.
func TestForgedRefusal(t *testing.T) {
	to := net.UDPAddrFromAddrPort(closedPort(t, loopback4))
	s := refusedSocket(t, loopback4, func() { t.Error("a forged refusal fails the handshake") })
	for range 2 {
		// Past the socket's books, as if another one had sent it.
		_, err := s.WriteToUDP([]byte(packet), to)
		if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
	if !s.takeReports() {
		t.Fatal("nothing was reported")
	}
	s.refusals.heard.Store(true)
	if s.refusals.hasCome() {
		t.Error("a forged refusal came through")
	}
}

func TestIsRefusal(t *testing.T) {
	if isRefusal(nil) || isRefusal([]byte("no control message")) {
		t.Error("nothing is taken for a refusal")
	}
	if isRefusal(unix.UnixRights(1)) {
		t.Error("another control message is taken for a refusal")
	}
}

// With h3=1 nobody should wait for a server without HTTP/3.
func TestNothingListens(t *testing.T) {
	for _, host := range hosts {
		s := newServer(t)
		s.addr = closedPort(t, host)
		_, err := dial(t, s.client(), s.url()) // would take 4 s
		wantStage(t, err, carrier.StageConnect)
		if !errors.Is(err, ErrNobody) {
			t.Errorf("%s: dial = %v, want %v", host, err, ErrNobody)
		}
	}
}

// vanish closes the server's socket, as the end of its program does, so that it cannot say goodbye.
func (s *server) vanish() {
	_ = s.socket.Close()
	s.stop()
}

func TestServerIsGone(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	near, far := s.open(d)
	quiet, _ := s.open(d)
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	s.vanish()
	began := time.Now()
	if _, err := near.Write([]byte("are you there?")); err != nil {
		t.Fatal(err)
	}
	until(t, "suspicion", near.c.Suspect)
	suspected := time.Since(began)
	for _, stream := range []*Stream{near, quiet} {
		_, err := stream.Read(make([]byte, 1))
		wantBroken(t, "read from a server that is gone", err)
		if lost, ok := errors.AsType[*ConnError](err); !ok || !errors.Is(lost.Err, ErrGone) {
			t.Errorf("read = %v, want %v", err, ErrGone)
		}
	}
	took := time.Since(began)
	t.Logf("suspect after %v, dead after %v", suspected, took)
	if took < doubtTime || took > 2*doubtTime {
		t.Errorf("connection ended after %v, want %v to %v", took, doubtTime, 2*doubtTime)
	}
}

// A new flow does not wait for the verdict on the old connection.
func TestServerIsReplaced(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	near, _ := s.open(d)
	s.vanish()
	if _, err := near.Write([]byte("are you there?")); err != nil {
		t.Fatal(err)
	}
	until(t, "suspicion", near.c.Suspect)
	next := newServer(t)
	next.addr, next.roots, next.tls = s.addr, s.roots, s.tls
	next.start()
	began := time.Now()
	again, far := next.open(d)
	if took := time.Since(began); took >= doubtTime {
		t.Errorf("a new flow took %v, want less than %v", took, doubtTime)
	}
	if again.c == near.c {
		t.Error("the new flow is on the old connection")
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Read(make([]byte, 1)); err != nil {
		t.Errorf("read on the new server = %v, want nil", err)
	}
}

// Somebody who sees our packets can refuse them in the server's name; a server that answers is not gone.
func TestRefusedWhileTheServerAnswers(t *testing.T) {
	s := newServer(t).start()
	near, far := s.open(s.client())
	nobody := net.UDPAddrFromAddrPort(closedPort(t, loopback4))
	socket := near.c.link.socket
	ticker := time.NewTicker(doubtTime / 50)
	defer ticker.Stop()
	before := near.c.link.conn.ConnectionStats().PacketsReceived
	for range 100 { // two seconds
		// It begins as the last packet did, but goes where nobody is.
		m := socket.refusals.mark.Load()
		fake := []byte{0x40, byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}
		_, _, _ = socket.UDPConn.WriteMsgUDP(fake, nil, nobody)
		<-ticker.C
	}
	if near.c.Ended() {
		t.Fatalf("connection ended: %v", near.c.lost())
	}
	if got := near.c.link.conn.ConnectionStats().PacketsReceived; got == before {
		t.Error("the server was not asked for a sign of life")
	}
	until(t, "trust", func() bool { return !near.c.Suspect() })
	if _, err := near.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
