package socks5

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// maxControlBytes is what a client may send on a control connection after its request. RFC 1928 has nothing
// for it to say there.
const maxControlBytes = 4096

// socketBuffer is asked of the kernel for each direction, so that a burst of datagrams waits there. It grants
// less where net.core.rmem_max says so, and takes the memory only for what waits.
const socketBuffer = 1 << 20

// drainPause is how long the answers to datagrams may take once the server is stopping.
const drainPause = time.Second

var (
	errNoUDP        = errors.New("no upstream carries UDP: set udp_wss")
	errControlEnded = errors.New("control connection ended")
	errDrained      = errors.New("server is stopping")
	errTalkative    = errors.New("the client sends data on the control connection of an association")
)

// associate serves UDP ASSOCIATE until the control connection ends.
func (f *flow) associate(ctx, accepting context.Context, named socksaddr.Addr) {
	if f.settings.Packet == nil {
		f.fail(ctx, replyBadCommand, errNoUDP)
		return
	}
	a, err := f.openAssociation(named)
	if err != nil {
		f.fail(ctx, replyGeneralFailure, err)
		return
	}
	defer a.Close()
	if err := f.reply(f.advertised(a)); err != nil {
		f.end(ctx, relay.Result{Err: err})
		return
	}
	f.end(ctx, f.relayPackets(ctx, accepting, a))
}

// openAssociation binds where the control connection came in: that address is one the client can reach, and
// the socket is open on no other interface.
func (f *flow) openAssociation(named socksaddr.Addr) (*association, error) {
	local, owner := hostOf(f.client.LocalAddr()), hostOf(f.client.RemoteAddr())
	if !local.IsValid() || !owner.IsValid() {
		return nil, fmt.Errorf("open association: %v is no TCP client", f.client.RemoteAddr())
	}
	network := "udp6"
	if local.Is4() {
		network = "udp4"
	}
	socket, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	if err != nil {
		return nil, fmt.Errorf("open association: %w", err)
	}
	setBuffers(socket, f.settings.datagramBuffer())
	return newAssociation(socket, owner, namedPort(named, owner), f.server.observer())
}

// datagramBuffer is more than SocketBuffer, because what does not fit is lost.
func (s *Settings) datagramBuffer() int {
	if s.SocketBuffer == 0 {
		return socketBuffer
	}
	return min(4*s.SocketBuffer, socketBuffer)
}

// hostOf returns the IP address of a TCP socket, plain IPv4 also where a dual-stack listener reports it as
// IPv6.
func hostOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// namedPort returns the port from which the client says it will send, or 0. The port means something only
// with the address that we see: a client behind a NAT names one that is not.
func namedPort(named socksaddr.Addr, owner netip.Addr) uint16 {
	if ip := named.IP(); ip.IsValid() && (ip.IsUnspecified() || ip == owner.WithZone("")) {
		return named.Port()
	}
	return 0
}

// advertised is where the client shall send to.
func (f *flow) advertised(a *association) socksaddr.Addr {
	bound := a.socket.LocalAddr().(*net.UDPAddr).AddrPort()
	// A client that came over the other family cannot use that address.
	if advertise := f.settings.UDPAdvertise; advertise.IsValid() && advertise.Is4() == bound.Addr().Is4() {
		bound = netip.AddrPortFrom(advertise, bound.Port())
	}
	return socksaddr.FromAddrPort(bound)
}

// relayPackets runs until one of the control connection, the socket and ctx ends, and ends the others. An
// association has no end of its own that a stopping server could wait for, so it gets drainPause.
func (f *flow) relayPackets(ctx, accepting context.Context, a *association) relay.Result {
	relayCtx, cancel := context.WithCancelCause(transport.WithClient(ctx, hostOf(f.client.RemoteAddr())))
	var control sync.WaitGroup
	control.Go(func() { cancel(f.waitControl()) })
	control.Go(func() {
		select {
		case <-accepting.Done():
			wait(relayCtx, drainPause)
			cancel(errDrained)
		case <-relayCtx.Done():
		}
	})
	result := relay.Packets(relayCtx, a, f.settings.Packet, relay.PacketOptions{Logger: f.log()})
	f.close(ctx)
	control.Wait()
	if errors.Is(result.Err, errControlEnded) || errors.Is(result.Err, errDrained) {
		result.Err = nil
	}
	return result
}

// waitControl waits for the end of the control connection. However that comes, it is the regular end of the
// association.
func (f *flow) waitControl() error {
	buf := make([]byte, 256)
	for total := 0; total <= maxControlBytes; {
		n, err := f.client.Read(buf)
		if err != nil {
			return errControlEnded
		}
		total += n
	}
	return errTalkative
}
