package upstream

import (
	"context"
	"net"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// streamStandby is standby as an endpoint of streams.
type streamStandby struct {
	*standby[*websocket.Stream]
}

var _ transport.StreamEndpoint = streamStandby{}

// ConnectStream implements transport.StreamEndpoint.
func (s streamStandby) ConnectStream(ctx context.Context) (transport.StreamConn, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// packetStandby is standby as an endpoint of packets.
type packetStandby struct {
	*standby[*websocket.Packets]
}

var _ transport.PacketEndpoint = packetStandby{}

// ConnectPacket implements transport.PacketEndpoint.
func (s packetStandby) ConnectPacket(ctx context.Context) (net.Conn, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// KeepStreams says how many connections to keep ready for streams; 0 is none and closes those that are. More
// are kept while flows come fast. It costs next to nothing when n is what it was.
func (u *Upstream) KeepStreams(n int) {
	if u.streams != nil {
		u.streams.standby.Keep(n)
	}
}

// KeepPackets is KeepStreams for packet sockets.
func (u *Upstream) KeepPackets(n int) {
	if u.packets != nil {
		u.packets.standby.Keep(n)
	}
}

// Ready is how many connections are ready.
func (u *Upstream) Ready() (streams, packets int) {
	if u.streams != nil {
		streams = u.streams.standby.Ready()
	}
	if u.packets != nil {
		packets = u.packets.standby.Ready()
	}
	return streams, packets
}

// Close closes what is ready and waits for everything that keeps it so. Flows go on, and new ones dial. It is
// to be called before the carriers are closed.
func (u *Upstream) Close() error {
	if u.streams != nil {
		u.streams.standby.Close()
	}
	if u.packets != nil {
		u.packets.standby.Close()
	}
	return nil
}

// ProbeStreams opens streams past what is ready: a probe is to find out whether one can be opened.
func (u *Upstream) ProbeStreams() transport.StreamDialer { return streamProbe{u} }

// ProbePackets is ProbeStreams for packet sockets.
func (u *Upstream) ProbePackets() transport.PacketListener { return packetProbe{u} }

type streamProbe struct{ u *Upstream }

// DialStream implements transport.StreamDialer.
func (p streamProbe) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	if p.u.streams == nil {
		return nil, p.u.wrap(ErrNotCarried)
	}
	return p.u.dialStream(ctx, &p.u.streams.probed, addr)
}

type packetProbe struct{ u *Upstream }

// ListenPacket implements transport.PacketListener.
func (p packetProbe) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	if p.u.packets == nil {
		return nil, p.u.wrap(ErrNotCarried)
	}
	return p.u.listenPacket(ctx, &p.u.packets.probed)
}
