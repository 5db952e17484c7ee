package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// queued is how much a path holds each way, in chunks or packets: no bench fills it.
	queued    = 1 << 16
	chunkSize = 64 << 10
	// packetSize is more than a QUIC packet has, and packetBatch how many are moved with one call.
	packetSize  = 2 << 10
	packetBatch = 64
	// socketBuffer is what a UDP socket of the path asks for, so that the path loses nothing.
	socketBuffer = 32 << 20
)

// bePath is another process: a long way to a server, for TCP and for UDP, on one port of loopback.
func bePath(ctx context.Context, to string, oneWay time.Duration) error {
	target, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(target.Addr(), 0)))
	if err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(tcp.Addr().(*net.TCPAddr).AddrPort()))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _, _ = tcp.Close(), udp.Close() })
	if err := json.NewEncoder(os.Stdout).Encode(tcp.Addr().String()); err != nil {
		return err
	}
	p := path{ctx: ctx, target: target, oneWay: oneWay}
	var running sync.WaitGroup
	running.Go(func() { p.streams(tcp) })
	running.Go(func() { p.packets(udp) })
	running.Wait()
	return nil
}

// path delays what it carries. It has no bandwidth of its own and loses nothing.
type path struct {
	ctx    context.Context //nolint:containedctx // the life of the process
	target netip.AddrPort
	oneWay time.Duration
}

// streams carries TCP connections. A connection of the client's opens a round trip late, as if its SYN had
// gone all the way.
func (p *path) streams(l *net.TCPListener) {
	for {
		near, err := l.AcceptTCP()
		if err != nil {
			return
		}
		go p.stream(near)
	}
}

func (p *path) stream(near *net.TCPConn) {
	far, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(p.target))
	if err != nil {
		_ = near.Close()
		return
	}
	context.AfterFunc(p.ctx, func() { _, _ = near.Close(), far.Close() })
	go p.bytes(far, near, 3*p.oneWay) // the handshake's round trip comes first
	p.bytes(near, far, p.oneWay)
}

// late is what is on its way.
type late struct {
	data []byte
	due  time.Time
}

// bytes carries one direction. The first chunk takes as long as first says.
func (p *path) bytes(to, from *net.TCPConn, first time.Duration) {
	way, takes := make(chan late, queued), first
	go func() {
		for l := range way {
			time.Sleep(time.Until(l.due))
			if _, err := to.Write(l.data); err != nil {
				_ = from.Close()
			}
		}
		_ = to.CloseWrite()
	}()
	for {
		chunk := make([]byte, chunkSize)
		n, err := from.Read(chunk)
		if err != nil {
			close(way)
			return
		}
		way <- late{chunk[:n], time.Now().Add(takes)}
		takes = p.oneWay
	}
}

// packets carries datagrams between the clients of near and the server, with a socket for each client.
func (p *path) packets(near *net.UDPConn) {
	_ = near.SetReadBuffer(socketBuffer)
	_ = near.SetWriteBuffer(socketBuffer)
	ways := make(map[netip.AddrPort]chan late)
	back := ipv4.NewPacketConn(near)
	receive(near, func(data []byte, from net.Addr) {
		client := from.(*net.UDPAddr).AddrPort()
		way, ok := ways[client]
		if !ok {
			far, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(p.target))
			if err != nil {
				return
			}
			context.AfterFunc(p.ctx, func() { _ = far.Close() })
			_ = far.SetReadBuffer(socketBuffer)
			_ = far.SetWriteBuffer(socketBuffer)
			way = make(chan late, queued)
			ways[client] = way
			home := make(chan late, queued)
			go deliver(way, ipv4.NewPacketConn(far), nil)
			go deliver(home, back, from)
			go receive(far, func(data []byte, _ net.Addr) { p.send(home, data) })
		}
		p.send(way, data)
	})
}

func (p *path) send(way chan late, data []byte) {
	select {
	case way <- late{data, time.Now().Add(p.oneWay)}:
	default: // a full queue loses packets
	}
}

// receive reads packets until the socket is closed. The server may be gone for a while.
func receive(conn *net.UDPConn, each func(data []byte, from net.Addr)) {
	batch := ipv4.NewPacketConn(conn)
	messages := make([]ipv4.Message, packetBatch)
	for {
		for i := range messages {
			if messages[i].Buffers == nil {
				messages[i].Buffers = [][]byte{make([]byte, packetSize)}
			}
		}
		n, err := batch.ReadBatch(messages, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		for i := range max(n, 0) {
			m := &messages[i]
			each(m.Buffers[0][:m.N], m.Addr)
			m.Buffers = nil
		}
	}
}

// deliver sends what is due, all that is with one call.
func deliver(way chan late, conn *ipv4.PacketConn, to net.Addr) {
	messages := make([]ipv4.Message, 0, packetBatch)
	next, more := <-way
	for more {
		time.Sleep(time.Until(next.due))
		messages = messages[:0]
		for now := time.Now(); more && len(messages) < packetBatch && !next.due.After(now); {
			messages = append(messages, ipv4.Message{Buffers: [][]byte{next.data}, Addr: to})
			select {
			case next, more = <-way:
			default:
				more = false
			}
		}
		for rest := messages; len(rest) > 0; {
			n, err := conn.WriteBatch(rest, 0)
			if err != nil {
				break
			}
			rest = rest[n:]
		}
		if !more {
			next, more = <-way
		}
	}
}
