//go:build !unit

package tun

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPacket is the largest IP packet, a super-segment included.
const maxPacket = 65535

// port moves whole packets through a file, with or without virtio headers. read is for one goroutine; write
// may be called concurrently, and so may Close, which ends read.
type port struct {
	file    *os.File
	raw     syscall.RawConn
	headers bool // a virtio header stands in front of every packet

	frames sync.Pool // of *frame
	in     frame
}

// newPort takes a file that the runtime's poller knows.
func newPort(file *os.File, headers bool) (*port, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &port{file: file, raw: raw, headers: headers}
	p.frames.New = func() any {
		f := new(frame)
		f.call = f.write
		return f
	}
	return p, nil
}

// frame is a packet on its way through a system call. The method value is made once, so that moving packets
// allocates nothing.
type frame struct {
	header [virtioLen]byte
	parts  [][]byte
	call   func(fd uintptr)
	n      int
	err    error
}

func (f *frame) write(fd uintptr) {
	for {
		f.n, f.err = unix.Writev(int(fd), f.parts)
		if !errors.Is(f.err, unix.EINTR) {
			return
		}
	}
}

// frame returns an empty frame, which goes to send or to release.
func (p *port) frame(h virtioHeader) *frame {
	f := p.frames.Get().(*frame)
	p.begin(f, h)
	return f
}

// begin empties f for the parts of another packet.
func (p *port) begin(f *frame, h virtioHeader) {
	f.parts = f.parts[:0]
	if p.headers {
		h.put(&f.header)
		f.parts = append(f.parts, f.header[:])
	}
}

func (p *port) release(f *frame) {
	clear(f.parts)
	p.frames.Put(f)
}

// send writes a frame and releases it. It does not wait: a TUN device takes a packet or drops it.
func (p *port) send(f *frame) error {
	defer p.release(f)
	if err := p.raw.Control(f.call); err != nil {
		return os.ErrClosed
	}
	return f.err
}

// read waits for a packet and puts it into buf, which must have room for maxPacket bytes.
func (p *port) read(buf []byte) (virtioHeader, int, error) {
	f := &p.in
	p.begin(f, virtioHeader{})
	f.parts = append(f.parts, buf)
	if err := p.raw.Read(f.read); err != nil {
		return virtioHeader{}, 0, os.ErrClosed
	}
	if f.err != nil {
		return virtioHeader{}, 0, f.err
	}
	if !p.headers {
		return virtioHeader{}, f.n, nil
	}
	if f.n < virtioLen {
		return virtioHeader{}, 0, nil
	}
	return parseVirtio(&f.header), f.n - virtioLen, nil
}

// read reports whether the system call is over; false makes the poller wait and call again.
func (f *frame) read(fd uintptr) bool {
	for {
		f.n, f.err = unix.Readv(int(fd), f.parts)
		if !errors.Is(f.err, unix.EINTR) {
			return !errors.Is(f.err, unix.EAGAIN)
		}
	}
}

func (p *port) close() error { return p.file.Close() }
