//go:build interop

package interop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// programs are built once, before the first test.
var programs Programs

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	if programs, err = Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("built the client and Caddy in %v\n", time.Since(began).Round(time.Second))
	return m.Run()
}

// onEveryHost runs test once on IPv4 and once on IPv6.
func onEveryHost(t *testing.T, test func(t *testing.T, host netip.Addr)) {
	t.Helper()
	for _, host := range Loopback {
		name := "ipv4"
		if host.Is6() {
			name = "ipv6"
		}
		t.Run(name, func(t *testing.T) {
			if !bindable(net.JoinHostPort(host.String(), "0")) {
				skip(t, fmt.Sprintf("this machine has no %s", host))
			}
			test(t, host)
		})
	}
}
