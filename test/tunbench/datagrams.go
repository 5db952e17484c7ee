//go:build linux && !unit

package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	datagramPort = 7004
	datagramRate = 20000 // a second
	datagramSize = 1200
	socketBuffer = 8 << 20 // so that only the tunnel can lose datagrams
)

// openSocket listens with large buffers.
func openSocket(ctx context.Context, host string, port int) (*net.UDPConn, error) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	socket := c.(*net.UDPConn)
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	err = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) // we are root
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer)
	})
	return socket, err
}

// echoDatagrams serves until ctx ends.
func echoDatagrams(ctx context.Context) error {
	socket, err := openSocket(ctx, serverHost, datagramPort)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = socket.Close() })()
	buf := make([]byte, datagramSize)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return nil
		}
		_, _ = socket.WriteToUDPAddrPort(buf[:n], from)
	}
}

// toServerPackets opens sockets on which every target is the server.
type toServerPackets struct{}

func (toServerPackets) ListenPacket(ctx context.Context) (net.PacketConn, error) {
	socket, err := openSocket(ctx, machineHost, 0)
	if err != nil {
		return nil, err
	}
	return serverPackets{socket}, nil
}

type serverPackets struct{ *net.UDPConn }

func (s serverPackets) WriteTo(b []byte, _ net.Addr) (int, error) {
	return s.UDPConn.WriteTo(b, &net.UDPAddr{IP: net.ParseIP(serverHost), Port: datagramPort})
}

func (s serverPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := s.ReadFromUDPAddrPort(b)
	return n, &net.UDPAddr{IP: net.ParseIP(targetHost), Port: datagramPort}, err
}

// runDatagrams sends at a steady rate, counts the echoes, and prints both numbers.
func runDatagrams(ctx context.Context, o options) error {
	socket, err := openSocket(ctx, "", 0)
	if err != nil {
		return err
	}
	received := 0
	var receiving sync.WaitGroup
	receiving.Go(func() {
		buf := make([]byte, datagramSize)
		for {
			if _, _, err := socket.ReadFromUDPAddrPort(buf); err != nil {
				return
			}
			received++
		}
	})
	sent, err := sendDatagrams(socket, o.duration)
	if err != nil {
		return err
	}
	if err := socket.SetReadDeadline(time.Now().Add(settle)); err != nil {
		return err
	}
	receiving.Wait()
	fmt.Println(sent, received)
	return nil
}

func sendDatagrams(socket *net.UDPConn, d time.Duration) (sent int, err error) {
	to := &net.UDPAddr{IP: net.ParseIP(targetHost), Port: datagramPort}
	payload := make([]byte, datagramSize)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for now := range tick.C {
		if now.Sub(began) > d {
			return sent, nil
		}
		const burst = 10 * datagramRate / 1000 // at most, when the scheduler was late
		due := int(now.Sub(began).Seconds() * datagramRate)
		for range min(due-sent, burst) {
			if _, err := socket.WriteTo(payload, to); err != nil {
				return sent, err
			}
			sent++
		}
	}
	return sent, nil
}
