package dialer

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestRoutesOfAddresses(t *testing.T) {
	d := New(Options{})
	for _, host := range []string{"127.0.0.1", "::1"} {
		listen(t, host) // or skip
		got, known := d.Routes(host)
		if !known || len(got) != 1 || got[0].Source != netip.MustParseAddr(host) {
			t.Errorf("Routes(%s) = %v, %v, want one from itself", host, got, known)
		}
	}
}

func TestRoutesWithoutARoute(t *testing.T) {
	got, known := New(Options{}).Routes("fe80::1%nowhere")
	if !known || len(got) > 0 {
		t.Errorf("Routes() behind an interface that is not there = %v, %v, want none", got, known)
	}
}

func TestRoutesOfNames(t *testing.T) {
	d := New(Options{})
	if got, known := d.Routes("Host.test"); known || len(got) > 0 {
		t.Errorf("Routes of a name that was never looked up = %v, %v, want none known", got, known)
	}
	longPast := time.Now().Add(-time.Hour)
	record4 := record{addrs: ips("127.0.0.1 127.0.0.1"), fresh: longPast}
	d.resolver.known.store(question{"host.test", ipv4}, record4)
	d.resolver.known.store(question{"host.test", ipv6}, record{err: errors.ErrUnsupported})
	if got, known := d.Routes("Host.test"); !known || len(got) != 1 {
		t.Errorf("Routes of a name that was looked up = %v, %v, want one", got, known)
	}
}

func TestRunning(t *testing.T) {
	for link, want := range map[int]bool{0: true, 1 << 30: true} {
		if got := running(link); got != want {
			t.Errorf("running(%d) = %v of a link that nobody knows, want %v", link, got, want)
		}
	}
}
