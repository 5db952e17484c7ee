package resolved

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

const (
	// SystemBus is where the bus of the system listens.
	SystemBus = "/run/dbus/system_bus_socket"
	// timeout bounds all calls of one function together, unless ctx ends earlier.
	timeout = 3 * time.Second

	service = "org.freedesktop.resolve1"
	object  = "/org/freedesktop/resolve1"
	manager = service + ".Manager"
)

// ErrAbsent says that systemd-resolved does not run here: no bus, or it is not on the bus. It is not started
// for this.
var ErrAbsent = errors.New("systemd-resolved does not run")

// Lead makes servers the ones that every name is asked for, of all devices' the first choice. Who asks
// resolved then asks them, over the device with that index.
func Lead(ctx context.Context, bus string, device int, servers []netip.Addr) error {
	return with(ctx, bus, func(c *client) error {
		for _, call := range []struct {
			method string
			body   body
		}{
			{"SetLinkDNS", serversOf(device, servers)},
			{"SetLinkDomains", everyName(device)},
			{"SetLinkDefaultRoute", newBody("ib").int32(device).bool32(1)},
			// Nobody is asked beside the servers.
			{"SetLinkLLMNR", newBody("is").int32(device).string("no")},
			// The servers are not reached over a network, and know no TLS.
			{"SetLinkDNSOverTLS", newBody("is").int32(device).string("no")},
			// What it remembers came from other servers.
			{"FlushCaches", newBody("")},
		} {
			if err := c.call(call.method, call.body); err != nil {
				return err
			}
		}
		return nil
	})
}

// Revert takes back what Lead told of a device that stays.
func Revert(ctx context.Context, bus string, device int) error {
	return with(ctx, bus, func(c *client) error {
		return c.call("RevertLink", newBody("i").int32(device))
	})
}

// with talks to the bus.
func with(ctx context.Context, bus string, talk func(*client) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", bus)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return ErrAbsent
		}
		return fmt.Errorf("bus: %w", err)
	}
	defer func() { _ = conn.Close() }() // all was answered, or not
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c, err := hello(conn)
	if err == nil {
		err = talk(c)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, ErrAbsent) {
		err = fmt.Errorf("systemd-resolved: %w", err)
	}
	return err
}

// serversOf is (ia(iay)): the device and its servers, each with the number of its address family.
func serversOf(device int, servers []netip.Addr) body {
	return newBody("ia(iay)").int32(device).array(8, func(b body) body {
		for _, s := range servers {
			s = s.Unmap()
			b = b.align(8).int32(familyOf(s)).array(1, func(b body) body { return b.raw(s.AsSlice()) })
		}
		return b
	})
}

// familyOf is AF_INET or AF_INET6, as Linux numbers them.
func familyOf(a netip.Addr) int {
	if a.Is4() {
		return 2
	}
	return 10
}

// everyName is (ia(sb)) with the root domain, for routing and not for search.
func everyName(device int) body {
	return newBody("ia(sb)").int32(device).array(8, func(b body) body {
		return b.align(8).string(".").bool32(1)
	})
}
