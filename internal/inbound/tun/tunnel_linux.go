//go:build !unit

package tun

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

const (
	// defaultMaxDials bounds the connections that are being opened. A SYN above it is dropped, and its host
	// sends another a second later.
	defaultMaxDials = 4096

	// lingerLimit is how long what applications have not yet taken may keep a stopping server.
	lingerLimit = 2 * time.Second
	lingerPause = 10 * time.Millisecond
)

// tunnel is a device with its stack at work.
type tunnel struct {
	server   *Server
	device   *Device
	endpoint *endpoint
	stack    *stack.Stack
	other    *datagrams

	ended   chan struct{} // closed when the device is read no more
	err     error         // why, once ended is closed; nil after close
	closing sync.Once
}

// openTunnel starts the goroutine that reads d, for close to wait for. ctx is that of flows.
func openTunnel(ctx context.Context, s *Server, d *Device) (*tunnel, error) {
	link := &endpoint{port: d.port, offload: d.offload, mtu: uint32(d.mtu), counters: &s.Counters}
	netstack, err := newStack(link)
	if err != nil {
		return nil, err
	}
	t := &tunnel{server: s, device: d, endpoint: link, stack: netstack, ended: make(chan struct{})}
	t.other = newDatagrams(ctx, datagramOptions{
		settings: s.settings, draining: s.flows.isClosed, out: link, counters: &s.Counters,
		observer: s.observer(), gate: s.gate(), log: s.logger(),
	})
	maxDials := defaultMaxDials
	if s.MaxDials > 0 {
		maxDials = s.MaxDials
	}
	forwarder := tcp.NewForwarder(netstack, defaultBuffer, maxDials, func(r *tcp.ForwarderRequest) {
		id := r.ID()
		s.serveStream(ctx, addrPort(id.RemoteAddress, id.RemotePort), addrPort(id.LocalAddress, id.LocalPort),
			handshake{r})
	})
	netstack.SetTransportProtocolHandler(tcp.ProtocolNumber, t.counting(forwarder))
	go t.run()
	return t, nil
}

// counting counts the SYNs that f drops. It is called by the goroutine that reads the device, alone.
func (t *tunnel) counting(f *tcp.Forwarder) func(stack.TransportEndpointID, *stack.PacketBuffer) bool {
	drops := t.stack.Stats().TCP.ForwardMaxInFlightDrop
	return func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		before := drops.Value()
		taken := f.HandlePacket(id, pkt)
		if drops.Value() != before {
			t.server.Counters.dropped(dropInFlight)
		}
		return taken
	}
}

// run reads the device until that is closed or fails.
func (t *tunnel) run() {
	defer close(t.ended)
	for {
		err := t.endpoint.receive(t.other)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			t.server.Counters.failed(opRead)
			t.err = err
			return
		}
	}
}

// abort resets all connections, those in their handshake included.
func (t *tunnel) abort() {
	for _, ep := range t.stack.RegisteredEndpoints() {
		ep.Abort()
	}
}

// close ends what openTunnel began, once applications have what was sent to them or ctx is done.
func (t *tunnel) close(ctx context.Context) {
	t.closing.Do(func() {
		t.linger(ctx)
		t.other.close()
		_ = t.device.Close() // fails only on a closed device
		<-t.ended
		t.stack.Destroy()
	})
}

// linger waits for the connections that are closed here to be closed on the other side too. Nothing announces
// that, and a server stops once.
func (t *tunnel) linger(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lingerLimit)
	defer cancel()
	tick := time.NewTicker(lingerPause)
	defer tick.Stop()
	for t.undelivered() {
		select {
		case <-tick.C:
		case <-t.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (t *tunnel) undelivered() bool {
	for _, ep := range t.stack.RegisteredEndpoints() {
		if ep, ok := ep.(*tcp.Endpoint); ok {
			state := ep.EndpointState()
			if state == tcp.StateFinWait1 || state == tcp.StateClosing || state == tcp.StateLastAck {
				return true
			}
		}
	}
	return false
}

// handshake is a SYN that waits for its answer.
type handshake struct{ request *tcp.ForwarderRequest }

// accept implements request.
func (h handshake) accept(window int) (transport.StreamConn, error) {
	id := h.request.ID()
	queue := new(waiter.Queue)
	ep, failure := h.request.CreateEndpoint(queue)
	h.request.Complete(false)
	if failure != nil {
		return nil, stackError(failure)
	}
	keepAlivesOn(ep)
	bound(ep, window)
	target, client := tcpAddr(id.LocalAddress, id.LocalPort), tcpAddr(id.RemoteAddress, id.RemotePort)
	return newConn(ep, queue, target, client), nil
}

// refuse implements request.
func (h handshake) refuse() { h.request.Complete(true) }

func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	ip, _ := netip.AddrFromSlice(a.AsSlice()) // an address has 4 or 16 bytes
	return netip.AddrPortFrom(ip, port)
}

func tcpAddr(a tcpip.Address, port uint16) net.Addr {
	return net.TCPAddrFromAddrPort(addrPort(a, port))
}
