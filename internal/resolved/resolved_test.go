package resolved

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func servers() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("172.19.0.2"),
		netip.MustParseAddr("::ffff:10.0.0.1"),
		netip.MustParseAddr("fd00::2"),
	}
}

// The bytes were taken by systemd-resolved 252.
func TestLead(t *testing.T) {
	var b fakeBus
	b.start(t)
	if err := Lead(t.Context(), b.path, 7, servers()); err != nil {
		t.Fatal(err)
	}
	<-b.done
	want := []string{
		"SetLinkDNS ia(iay) 07000000" + "38000000" +
			"02000000" + "04000000" + "ac130002" + "00000000" +
			"02000000" + "04000000" + "0a000001" + "00000000" +
			"0a000000" + "10000000" + "fd000000000000000000000000000002",
		"SetLinkDomains ia(sb) 07000000" + "0c000000" + "01000000" + "2e000000" + "01000000",
		"SetLinkDefaultRoute ib 07000000" + "01000000",
		"SetLinkLLMNR is 07000000" + "02000000" + "6e6f00",
		"SetLinkDNSOverTLS is 07000000" + "02000000" + "6e6f00",
		"FlushCaches",
	}
	if diff := cmp.Diff(want, b.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestRevert(t *testing.T) {
	var b fakeBus
	b.start(t)
	if err := Revert(t.Context(), b.path, 7); err != nil {
		t.Fatal(err)
	}
	<-b.done
	if diff := cmp.Diff([]string{"RevertLink i 07000000"}, b.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		bus  fakeBus
		want string
	}{
		"not on the bus": {
			fakeBus{fails: map[string]string{"SetLinkDNS": "org.freedesktop.DBus.Error.ServiceUnknown"}},
			ErrAbsent.Error(),
		},
		"may not": {
			fakeBus{fails: map[string]string{"SetLinkDomains": "org.freedesktop.DBus.Error.AccessDenied"}},
			"SetLinkDomains: org.freedesktop.DBus.Error.AccessDenied",
		},
		"nobody may": {fakeBus{refuses: true}, "does not let us in"},
	} {
		c.bus.start(t)
		err := Lead(t.Context(), c.bus.path, 7, servers())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Lead() = %v, want %q", name, err, c.want)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if err := Lead(t.Context(), none, 7, servers()); !errors.Is(err, ErrAbsent) {
		t.Errorf("no bus: Lead() = %v, want ErrAbsent", err)
	}
}

func TestABusThatIsSilent(t *testing.T) {
	b := fakeBus{silent: true}
	b.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := Lead(ctx, b.path, 7, servers()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lead() = %v, want the end of ctx", err)
	}
}

// A real bus takes what we write, and has no resolved.
func TestRealBus(t *testing.T) {
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("needs dbus-daemon")
	}
	socket := filepath.Join(t.TempDir(), "bus")
	bus := exec.CommandContext(t.Context(), path, "--session", "--nofork", "--print-address",
		"--address=unix:path="+socket)
	out, err := bus.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bus.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = bus.Process.Kill(), bus.Wait() }()
	if _, err := out.Read(make([]byte, 1)); err != nil { // it listens
		t.Skipf("dbus-daemon does not run here: %v", err)
	}
	if err := Lead(t.Context(), socket, 7, servers()); !errors.Is(err, ErrAbsent) {
		t.Errorf("Lead() = %v, want ErrAbsent", err)
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add(message(kindReturn, 3, ""))
	f.Add(message(kindError, 3, "org.freedesktop.DBus.Error.Failed"))
	f.Add(method{service, object, manager, "FlushCaches"}.call(1, newBody("")))
	f.Fuzz(func(t *testing.T, b []byte) {
		const spare = 32 // for an error without a name
		if r, err := readReply(bytes.NewReader(b)); err == nil && len(r.failure) > len(b)+spare {
			t.Errorf("readReply(%x) = %+v", b, r)
		}
	})
}
