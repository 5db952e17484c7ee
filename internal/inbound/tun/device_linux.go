//go:build !unit

package tun

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	clonePath  = "/dev/net/tun"
	defaultMTU = 1500
	// queueLen is how many packets wait while this program does not come to read: a busy host lets it wait
	// for 50 ms and more, and the kernel's 500 are gone after 25 ms of 20,000 datagrams a second.
	queueLen = 4096

	hintCapability = "CAP_NET_ADMIN is missing. Either give it to the program, with " +
		"AmbientCapabilities=CAP_NET_ADMIN in its unit; or let root make the device for it once, with " +
		"`ip tuntap add dev NAME mode tun user USER`, and keep the program's own connections out of it, " +
		"with `ip rule add uidrange UID-UID lookup TABLE` and the way out in that table"
	hintModule = "the kernel has no TUN devices here: load the module tun, or pass " + clonePath +
		" to the container"
	hintNode = "this user may not open it: make it 0666, as most systems have it, or allow it in the unit " +
		"with DeviceAllow=" + clonePath + " rw"
	hintNamespace = "entering a network namespace takes CAP_SYS_ADMIN"
	hintBusy      = "another program has it open"
	hintKind      = "there is a device of that name that is no TUN device"
)

// Device is an open TUN device. Its methods may be called concurrently.
type Device struct {
	port    *port
	offload offload
	name    string
	index   int
	mtu     int
	created bool
}

// Open opens an existing device, or makes one that lives until it is closed and is up. An existing device is
// used as it is: neither its MTU nor its state changes.
func Open(o DeviceOptions) (*Device, error) {
	if o.NetNS == "" {
		return open(o)
	}
	var d *Device
	err := inNamespace(o.NetNS, func() (err error) {
		d, err = open(o)
		return err
	})
	if err != nil {
		return nil, explain(o.Name, err)
	}
	return d, nil
}

// Created reports whether Open made the device.
func (d *Device) Created() bool { return d.created }

// Name is the name of the device.
func (d *Device) Name() string { return d.name }

// Index is the number of the device in its namespace.
func (d *Device) Index() int { return d.index }

// MTU is the size of the largest packet, as it was when the device was opened.
func (d *Device) MTU() int { return d.mtu }

// Close ends all reads and writes. A device that Open made is gone, with its addresses and routes.
func (d *Device) Close() error { return d.port.close() }

// open works in the namespace of its thread.
func open(o DeviceOptions) (*Device, error) {
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, explain(o.Name, os.NewSyscallError("socket", err))
	}
	defer func() { _ = unix.Close(control) }()
	link := link{control: control, name: o.Name}
	_, err = link.index()
	d := &Device{name: o.Name, created: err != nil}

	fd, err := unix.Open(clonePath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, explain(o.Name, &os.PathError{Op: "open", Path: clonePath, Err: err})
	}
	headers, err := d.attach(fd)
	if err == nil && headers {
		d.offload = setOffload(fd, o)
	}
	if err == nil {
		link.name = d.name
		err = d.configure(link, o.MTU)
	}
	if err == nil {
		// The poller takes the file only now that a device is behind it.
		d.port, err = newPort(os.NewFile(uintptr(fd), clonePath), headers)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, explain(o.Name, err)
	}
	return d, nil
}

// attach connects fd to the device, with virtio headers where the kernel has them.
func (d *Device) attach(fd int) (headers bool, err error) {
	const plain = unix.IFF_TUN | unix.IFF_NO_PI
	// What a persistent device was made with is replaced, but for its having several queues.
	for _, flags := range []uint16{
		plain | unix.IFF_VNET_HDR, plain | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE,
		plain, plain | unix.IFF_MULTI_QUEUE,
	} {
		if err = d.set(fd, flags); err == nil {
			headers = flags&unix.IFF_VNET_HDR != 0
			break
		}
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	if err != nil || !headers {
		return false, os.NewSyscallError("TUNSETIFF", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, virtioLen); err != nil {
		return false, os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	return true, nil
}

// setOffload asks for what o wants and returns what the kernel grants: some containers have devices without.
func setOffload(fd int, o DeviceOptions) offload {
	const wanted = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	if !o.Plain && unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, wanted) == nil {
		return offloadTCP
	}
	_ = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0) // a persistent device remembers those of its last user
	return offloadNone
}

// set tells the kernel which device fd is, and learns its name.
func (d *Device) set(fd int, flags uint16) error {
	request, err := unix.NewIfreq(d.name)
	if err != nil {
		return err
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	d.name = request.Name()
	return nil
}

// configure brings up what was made and learns about what was found.
func (d *Device) configure(l link, mtu int) (err error) {
	if d.created {
		if mtu == 0 {
			mtu = defaultMTU
		}
		if err := errors.Join(l.setMTU(mtu), l.setQueue(queueLen)); err != nil {
			return err
		}
		if err := l.up(); err != nil {
			return err
		}
	}
	if d.index, err = l.index(); err != nil {
		return err
	}
	d.mtu, err = l.mtu()
	return err
}

// explain adds to err what helps.
func explain(name string, err error) error {
	if _, already := errors.AsType[*DeviceError](err); already {
		return err
	}
	return &DeviceError{Name: name, Err: err, Hint: hintFor(err)}
}

func hintFor(err error) string {
	path, isPath := errors.AsType[*os.PathError](err)
	atClone, denied := isPath && path.Path == clonePath, errors.Is(err, os.ErrPermission)
	_, entering := errors.AsType[*namespaceError](err)
	switch {
	case denied && entering:
		return hintNamespace
	case entering:
		return ""
	case denied && atClone:
		return hintNode
	case denied:
		return hintCapability
	case atClone:
		return hintModule
	case errors.Is(err, unix.EBUSY):
		return hintBusy
	case errors.Is(err, unix.EINVAL):
		return hintKind
	}
	return ""
}
