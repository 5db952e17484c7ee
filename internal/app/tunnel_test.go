package app

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/capture"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dnsforward"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/tun"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

func TestWhoLeadsTraffic(t *testing.T) {
	links, err := net.Interfaces()
	if err != nil || len(links) == 0 {
		t.Skip("no network interfaces to name")
	}
	there, absent := links[0].Name, "outlinetest99"
	for _, tt := range []struct {
		name string
		tun  config.TUN
		want bool
	}{
		{"a device to be made", config.TUN{Device: absent}, true},
		{"a device that is there", config.TUN{Device: there}, false},
		{"on purpose", config.TUN{Device: there, AutoRoute: config.AutoRouteOn}, true},
		{"not wanted", config.TUN{Device: absent, AutoRoute: config.AutoRouteOff}, false},
		{"elsewhere", config.TUN{Device: absent, NetNS: "x", AutoRoute: config.AutoRouteOn}, false},
	} {
		if got := leadsTraffic(tt.tun); got != tt.want {
			t.Errorf("%s: leadsTraffic = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestNoTunnelNoStart: a tunnel that cannot be had ends the start, and nothing listens. This build has none.
func TestNoTunnelNoStart(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	listen := closedPort(t)
	book := newLogbook()
	c := load(t, listen, "tun: {enable: true, device: outlinetest99}\nupstreams:\n"+entry(t, s))
	c.TUN.NetNS = t.TempDir() // no device is made there
	a, err := New(c, book.logger())
	if err != nil {
		t.Fatal(err)
	}
	err = a.Run(t.Context(), context.Background())
	if err == nil {
		t.Fatal("Run = nil without a tunnel")
	}
	if _, ok := errors.AsType[*tun.DeviceError](err); !ok && !errors.Is(err, tun.ErrUnsupported) {
		t.Errorf("Run = %v", err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatalf("the SOCKS5 port stays open: %v", err)
	}
	_ = l.Close()
	if r := a.Report().Tunnel; r.Device != "" {
		t.Errorf("tunnel = %+v, want none", r)
	}
}

// TestMarkStaysUnderTheTunnel: for a moment the program's own connections would go into it.
func TestMarkStaysUnderTheTunnel(t *testing.T) {
	a := &App{
		tunnel:  &tunnel{auto: true},
		config:  &config.Config{Mark: 7},
		serving: t.Context(),
	}
	if err := a.admissible(&config.Config{Mark: 8}); !errors.Is(err, errMark) {
		t.Errorf("another mark: %v, want %v", err, errMark)
	}
	if err := a.admissible(&config.Config{Mark: 7}); err != nil {
		t.Errorf("the same mark: %v", err)
	}
	if mark := a.tunnel.mark(); mark != capture.DefaultMark {
		t.Errorf("mark = %d, want %d", mark, capture.DefaultMark)
	}
}

// TestCapturesDNSItCanAnswer: who answers queries is settled at the start, and so is whether they are led
// here, also those for a server on the LAN, which no upstream reaches.
func TestCapturesDNSItCanAnswer(t *testing.T) {
	reloaded := &config.Config{TUN: config.TUN{DNS: config.TunnelDNS{Capture: true}}}
	if (&tunnel{}).captureOptions(reloaded, new(tun.Device)).DNS {
		t.Error("queries are captured, and nobody answers them")
	}
	answering := &tunnel{names: dnsforward.New(dnsforward.Options{})}
	defer func() { _ = answering.names.Close() }()
	if !answering.captureOptions(&config.Config{}, new(tun.Device)).DNS {
		t.Error("queries get past the tunnel before its restart")
	}
}

func TestDescribeCapture(t *testing.T) {
	for _, tt := range []struct {
		state capture.State
		want  []string
	}{
		{capture.State{}, []string{"down"}},
		{
			capture.State{Device: "tun0", Running: true, Rules: 9, Guard: true},
			[]string{"up", "tun0", "9 rules", "nftables"},
		},
		{capture.State{Guard: true, Stays: true, Routes: 2}, []string{"kill switch", "tun down"}},
		{capture.State{Rules: 9}, []string{"without effect", "tun down"}},
	} {
		got := describe(tt.state)
		for _, part := range tt.want {
			if !strings.Contains(got, part) {
				t.Errorf("describe(%+v) = %q, want %q in it", tt.state, got, part)
			}
		}
	}
}
