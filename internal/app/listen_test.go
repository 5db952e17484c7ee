package app

import (
	"net"
	"strings"
	"testing"
)

func TestListenNetwork(t *testing.T) {
	for _, tt := range []struct {
		name, addr string
		others     []string
		want       string
	}{
		{"IPv4", "127.0.0.1:1080", nil, "tcp4"},
		{"every IPv4 address", "0.0.0.0:1080", nil, "tcp4"},
		{"IPv6", "[::1]:1080", nil, "tcp"},
		{"every address", "[::]:1080", nil, "tcp"},
		{"every IPv6 address beside every IPv4 address", "[::]:1080", []string{"0.0.0.0:1080"}, "tcp6"},
		{"another port for IPv4", "[::]:1080", []string{"0.0.0.0:1081"}, "tcp"},
		{"no host", ":1080", nil, "tcp"},
		{"name", "localhost:1080", nil, "tcp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []place
			for _, addr := range append(tt.others, tt.addr) {
				all = append(all, place{kindSOCKS5, addr})
			}
			if got := listenNetwork(place{kindSOCKS5, tt.addr}, all); got != tt.want {
				t.Errorf("listenNetwork(%s) = %s, want %s", tt.addr, got, tt.want)
			}
		})
	}
}

func TestListenAllOrNone(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := closedPort(t)
	both := []place{{kindSOCKS5, free}, {kindMetrics, taken.Addr().String()}}
	_, err = listenAll(t.Context(), both, nil)
	if err == nil || !strings.Contains(err.Error(), "metrics.listen") {
		t.Fatalf("listenAll = %v, want an error for the address that is taken", err)
	}
	again, err := net.Listen("tcp4", free)
	if err != nil {
		t.Errorf("the other address stayed open: %v", err)
		return
	}
	again.Close()
}
