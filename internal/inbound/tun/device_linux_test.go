//go:build !unit

package tun

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// An existing device is used as it is, and stays.
func TestExistingDevice(t *testing.T) {
	n := newNamespace(t)
	n.ip(t, "tuntap add dev owtest1 mode tun")
	n.ip(t, "link set owtest1 mtu 1400 up")
	d, err := Open(DeviceOptions{Name: "owtest1", NetNS: n.path, MTU: 9000})
	if err != nil {
		t.Fatal(err)
	}
	if d.Created() || d.MTU() != 1400 || d.offload != offloadTCP {
		t.Errorf("device: created %v, MTU %d, offload %d, want a found one with 1400 and super-segments",
			d.Created(), d.MTU(), d.offload)
	}
	n.routeThrough(t, "owtest1")
	port := listen(t, echo)
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	stop := serve(t, s, d)
	exchange(t, n.mustDial(t, "203.0.113.7:"+port))
	stop()
	n.ip(t, "link show owtest1")
}

func TestDeviceThatIsMade(t *testing.T) {
	n := newNamespace(t)
	d, err := Open(DeviceOptions{Name: "owtest2", NetNS: n.path, MTU: 1280, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	if !d.Created() || d.MTU() != 1280 || d.offload != offloadNone {
		t.Errorf("device: created %v, MTU %d, offload %d, want a new one with 1280 and no super-segments",
			d.Created(), d.MTU(), d.offload)
	}
	var queue []byte
	n.do(t, func() (err error) {
		queue, err = exec.CommandContext(t.Context(), "ip", "link", "show", "owtest2").Output()
		return err
	})
	if !strings.Contains(string(queue), "qlen 4096") {
		t.Errorf("device = %s, want a queue of 4096 packets", queue)
	}
	n.routeThrough(t, "owtest2")
	port := listen(t, echo)
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	stop := serve(t, s, d)
	exchange(t, n.mustDial(t, "[2001:db8::7]:"+port))
	stop()
	err = inNamespace(n.path, func() error {
		_, err := os.Stat("/proc/thread-self/net/dev_snmp6/owtest2")
		return err
	})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("device after Shutdown: %v, want it to be gone", err)
	}
}

func TestDeviceWithSeveralQueues(t *testing.T) {
	n := newNamespace(t)
	n.ip(t, "tuntap add dev owtest3 mode tun multi_queue")
	d, err := Open(DeviceOptions{Name: "owtest3", NetNS: n.path})
	if err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
}

func TestOpenSaysWhatHelps(t *testing.T) {
	n := newNamespace(t)
	n.ip(t, "link add owtest4 type veth peer name owtest4p")
	n.ip(t, "tuntap add dev owtest5 mode tun")
	busy, err := Open(DeviceOptions{Name: "owtest5", NetNS: n.path})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, tc := range map[string]struct {
		options DeviceOptions
		cause   error
		hint    string
	}{
		"not a TUN device": {DeviceOptions{Name: "owtest4", NetNS: n.path}, unix.EINVAL, hintKind},
		"in use":           {DeviceOptions{Name: "owtest5", NetNS: n.path}, unix.EBUSY, hintBusy},
		"no namespace":     {DeviceOptions{Name: "owtest6", NetNS: "owtest-none"}, os.ErrNotExist, ""},
		"name too long": {
			DeviceOptions{Name: strings.Repeat("x", 16), NetNS: n.path}, unix.EINVAL, hintKind,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(tc.options)
			device, ok := errors.AsType[*DeviceError](err)
			if !ok || !errors.Is(err, tc.cause) || device.Hint != tc.hint {
				t.Errorf("Open() = %v, want %v with the hint %q", err, tc.cause, tc.hint)
			}
		})
	}
}

func TestHints(t *testing.T) {
	clone := func(err error) error { return &os.PathError{Op: "open", Path: clonePath, Err: err} }
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no capability":     {os.NewSyscallError("TUNSETIFF", unix.EPERM), hintCapability},
		"no module":         {clone(unix.ENOENT), hintModule},
		"no driver":         {clone(unix.ENODEV), hintModule},
		"node closed":       {clone(unix.EACCES), hintNode},
		"node not allowed":  {clone(unix.EPERM), hintNode},
		"namespace closed":  {&namespaceError{"x", unix.EPERM}, hintNamespace},
		"namespace missing": {&namespaceError{"x", unix.ENOENT}, ""},
		"anything else":     {unix.ENOMEM, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hintFor(tc.err); got != tc.want {
				t.Errorf("hintFor(%v) = %q, want %q", tc.err, got, tc.want)
			}
		})
	}
}

// Without CAP_NET_ADMIN a device cannot be made, and one that root has made for this user can be used.
func TestOpenWithoutCapability(t *testing.T) {
	n := newNamespace(t)
	n.ip(t, "tuntap add dev owtest7 mode tun user 0")
	err := n.withoutCapabilities(func() error {
		_, err := open(DeviceOptions{Name: "owtest8"})
		return err
	})
	device, ok := errors.AsType[*DeviceError](err)
	if !ok || !errors.Is(err, os.ErrPermission) || device.Hint != hintCapability {
		t.Errorf("Open() of a new device = %v, want %v and what to do", err, os.ErrPermission)
	}
	if err := n.withoutCapabilities(func() error {
		d, err := open(DeviceOptions{Name: "owtest7"})
		if err != nil {
			return err
		}
		if d.offload != offloadTCP {
			t.Errorf("offload = %d, want super-segments", d.offload)
		}
		return d.Close()
	}); err != nil {
		t.Errorf("Open() of a device made for this user = %v, want nil", err)
	}
}

// withoutCapabilities runs f on a thread of the namespace that has none.
func (n namespace) withoutCapabilities(f func() error) error {
	return inNamespace(n.path, func() error {
		runtime.LockOSThread() // it is already, and ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		return f()
	})
}

func TestDeviceThatIsDeletedEndsServe(t *testing.T) {
	n := newNamespace(t)
	d := n.open(t)
	port := listen(t, echo)
	s := &Server{Settings: Settings{Stream: toLoopback{}}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), d) }()
	exchange(t, n.mustDial(t, "203.0.113.7:"+port))
	n.ip(t, "link del "+d.Name())
	if err := <-served; err == nil {
		t.Error("Serve() = nil, want an error")
	} else {
		t.Log(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown() = %v, want nil: its flows ended with the device", err)
	}
}
