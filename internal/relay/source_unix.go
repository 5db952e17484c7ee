//go:build unix

package relay

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// socketSource reads a TCP socket with a buffer that it holds only while there are bytes: it tries to read,
// and when nothing is there it gives the buffer back before the runtime's poller waits. It makes the same
// system calls as net.Conn.Read does.
type socketSource struct {
	raw syscall.RawConn
	try func(fd uintptr) bool // method value made once, so that reading allocates nothing

	// The call in progress.
	room transport.Headroom
	buf  *buffer
	n    int
	err  error
}

// newSocketSource returns nil for what is not a TCP socket of the kernel.
func newSocketSource(c net.Conn) source {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socketSource{raw: raw}
	s.try = s.tryRead
	return s
}

func (s *socketSource) next(room transport.Headroom) (*buffer, int, error) {
	s.room, s.buf, s.n, s.err = room, nil, 0, nil
	if err := s.raw.Read(s.try); err != nil {
		return nil, 0, err
	}
	return s.buf, s.n, s.err
}

// tryRead reports whether the read is over; false makes the poller wait and call again.
func (s *socketSource) tryRead(fd uintptr) bool {
	buf := buffers.Get().(*buffer)
	n, err := readAgain(int(fd), buf[s.room.Front:s.room.Front+s.room.Max])
	if n > 0 {
		s.buf, s.n = buf, n
		return true
	}
	buffers.Put(buf)
	if errors.Is(err, syscall.EAGAIN) {
		return false
	}
	s.err = io.EOF
	if err != nil {
		s.err = os.NewSyscallError("read", err)
	}
	return true
}

// readAgain reads and repeats what a signal interrupted.
func readAgain(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}
