package interop

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// StartForwarder gives programs that know nothing of SOCKS5, such as dig, a local UDP port behind which
// target is reached through an association with the SOCKS5 server at socks. It returns the port's address.
func StartForwarder(t *testing.T, host netip.Addr, socks string, target netip.AddrPort) string {
	t.Helper()
	local, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
	if err != nil {
		t.Fatal(err)
	}
	association, err := Associate(t.Context(), socks)
	if err != nil {
		t.Fatalf("associate with %s: %v", socks, err)
	}
	f := &forwarder{local: local, association: association, target: target}
	var running sync.WaitGroup
	running.Go(f.send)
	running.Go(f.receive)
	t.Cleanup(func() {
		_ = local.Close()
		_ = association.Close()
		running.Wait()
	})
	return local.LocalAddr().String()
}

type forwarder struct {
	local       *net.UDPConn
	association *Association
	target      netip.AddrPort

	mu     sync.Mutex
	client netip.AddrPort // who asked last
}

func (f *forwarder) send() {
	buf := make([]byte, 65535)
	for {
		n, from, err := f.local.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.client = from
		f.mu.Unlock()
		if f.association.Send(f.target, buf[:n]) != nil {
			return
		}
	}
}

func (f *forwarder) receive() {
	buf := make([]byte, 65535)
	for {
		payload, from, err := f.association.Receive(buf, time.Time{})
		if err != nil {
			return
		}
		if from != f.target {
			continue
		}
		f.mu.Lock()
		client := f.client
		f.mu.Unlock()
		_, _ = f.local.WriteToUDPAddrPort(payload, client) // dig asks again
	}
}
