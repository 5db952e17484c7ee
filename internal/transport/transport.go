package transport

import (
	"context"
	"net"
)

// StreamConn is a reliable byte stream whose two halves end apart.
//
// Read returns io.EOF only when the peer ended its half on purpose; a stream that broke returns another
// error, so that a truncated transfer never looks complete. All methods may be called concurrently, except
// Read with Read and Write with Write.
type StreamConn interface {
	net.Conn
	// CloseRead tells the stream that nobody will read any more.
	CloseRead() error
	// CloseWrite ends our half: the peer reads EOF after what was written. Reading goes on.
	CloseWrite() error
}

// Carried is a stream or a packet socket that knows the upstream that carries it.
type Carried interface {
	// Upstream is the configured name.
	Upstream() string
}

// StreamDialer opens streams to any target.
type StreamDialer interface {
	// DialStream connects to addr, a "host:port" whose host is a name or an IP address.
	// ctx bounds the opening only.
	DialStream(ctx context.Context, addr string) (StreamConn, error)
}

// StreamEndpoint opens streams to one fixed place.
type StreamEndpoint interface {
	// ConnectStream opens a stream. ctx bounds the opening only.
	ConnectStream(ctx context.Context) (StreamConn, error)
}

// PacketEndpoint opens packet connections to one fixed place.
type PacketEndpoint interface {
	// ConnectPacket returns a connection on which each Read and Write is one datagram. ctx bounds the opening
	// only.
	ConnectPacket(ctx context.Context) (net.Conn, error)
}

// PacketListener opens packet sockets that reach any target.
type PacketListener interface {
	// ListenPacket returns a socket whose addresses are those of the targets. ctx bounds the opening only.
	ListenPacket(ctx context.Context) (net.PacketConn, error)
}
