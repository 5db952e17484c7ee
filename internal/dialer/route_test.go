package dialer

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestSourcesOfAddresses(t *testing.T) {
	d := New(Options{})
	for _, host := range []string{"127.0.0.1", "::1"} {
		listen(t, host) // or skip
		got, known := d.Sources(t.Context(), host)
		if !known || !slices.Equal(got, ips(host)) {
			t.Errorf("Sources(%s) = %v, %v, want itself", host, got, known)
		}
	}
}

func TestSourcesWithoutARoute(t *testing.T) {
	got, known := New(Options{}).Sources(t.Context(), "fe80::1%nowhere")
	if !known || len(got) > 0 {
		t.Errorf("Sources() behind an interface that is not there = %v, %v, want none", got, known)
	}
}

func TestSourcesOfNames(t *testing.T) {
	d := New(Options{})
	if got, known := d.Sources(t.Context(), "Host.test"); known || len(got) > 0 {
		t.Errorf("Sources of a name that was never looked up = %v, %v, want none known", got, known)
	}
	longPast := time.Now().Add(-time.Hour)
	d.resolver.known.store(question{"host.test", ipv4}, record{addrs: ips("127.0.0.1"), fresh: longPast})
	d.resolver.known.store(question{"host.test", ipv6}, record{err: errors.ErrUnsupported})
	if got, known := d.Sources(t.Context(), "Host.test"); !known || !slices.Equal(got, ips("127.0.0.1")) {
		t.Errorf("Sources of a name that was looked up = %v, %v, want 127.0.0.1", got, known)
	}
}
