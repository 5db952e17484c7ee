package capture

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// device is a TUN device whose reader answers in its simplest way: a SYN with a reset, a datagram with a
// word.
type device struct {
	file    *os.File
	packets atomic.Int64 // that the host sent to some address, without its own housekeeping
	done    chan struct{}
}

// openDevice makes it. It ends with the process, or with close.
func openDevice() (*device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(testTUN)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, fmt.Errorf("make a TUN device: %w", err)
	}
	d := &device{file: os.NewFile(uintptr(fd), testTUN), done: make(chan struct{})}
	go d.run()
	return d, nil
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d, err := openDevice()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

func (d *device) close() {
	_ = d.file.Close()
	<-d.done
}

func (d *device) run() {
	defer close(d.done)
	buf := make([]byte, 1500)
	for {
		n, err := d.file.Read(buf)
		if err != nil {
			return
		}
		if answer := answerTo(buf[:n]); answer != nil {
			d.packets.Add(1)
			_, _ = d.file.Write(answer)
		}
	}
}

// answerTo is what the device answers to a packet without options; nil when it does not.
func answerTo(p []byte) []byte {
	head, proto, addrs := 20, p[9], p[12:20]
	if p[0]>>4 == 6 {
		head, proto, addrs = 40, p[6], p[8:40]
	}
	half := len(addrs) / 2
	swapped := append(append([]byte{}, addrs[half:]...), addrs[:half]...)
	var payload []byte
	switch proto {
	case protocolTCP:
		payload = reset(p[head:])
	case protocolUDP:
		payload = datagram(p[head:])
	default:
		return nil
	}
	sum := checksum(swapped, uint32(proto)+uint32(len(payload)))
	at := 16 // of the checksum, in TCP
	if proto == protocolUDP {
		at = 6
	}
	binary.BigEndian.PutUint16(payload[at:], checksum(payload, uint32(^sum)))
	answer := append([]byte{}, p[:head]...)
	copy(answer[head-len(addrs):], swapped)
	if head == 40 {
		binary.BigEndian.PutUint16(answer[4:], uint16(len(payload)))
		return append(answer, payload...)
	}
	binary.BigEndian.PutUint16(answer[2:], uint16(head+len(payload)))
	binary.BigEndian.PutUint16(answer[10:], 0)
	binary.BigEndian.PutUint16(answer[10:], checksum(answer, 0))
	return append(answer, payload...)
}

// reset answers a segment.
func reset(seg []byte) []byte {
	b := make([]byte, 20)
	copy(b, seg[2:4])
	copy(b[2:], seg[:2])
	binary.BigEndian.PutUint32(b[8:], binary.BigEndian.Uint32(seg[4:])+1)
	b[12], b[13] = 5<<4, 0x14 // RST, ACK
	return b
}

// datagram answers one.
func datagram(d []byte) []byte {
	b := make([]byte, 8, 8+len(byTUN))
	copy(b, d[2:4])
	copy(b[2:], d[:2])
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(byTUN)))
	return append(b, byTUN...)
}

// checksum is that of RFC 1071, begun with a sum.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
