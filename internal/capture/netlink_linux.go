package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience bounds the wait for an answer. The kernel has it ready when the request is written.
	patience = 5 * time.Second
	// receiveSize is more than the kernel puts into one message of a dump.
	receiveSize = 64 << 10
	// dumpTries bounds how often a list is asked for that changed while it was read.
	dumpTries = 10

	headerLen = unix.SizeofNlMsghdr
	attrLen   = unix.SizeofNlAttr
)

// message is one of netlink(7), without its header.
type message struct {
	kind, flags uint16
	body        []byte
}

// conn is a netlink socket. It is not for concurrent use.
type conn struct {
	fd  int
	seq uint32
}

// openNetlink opens a socket in the network namespace of the calling thread.
func openNetlink(family int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return &conn{fd: fd}, nil
}

func (c *conn) close() error { return unix.Close(c.fd) }

// ask sends messages in one write and returns what came before the last acknowledgement, and the first error.
// A message without NLM_F_ACK gets an answer only when it is refused.
func (c *conn) ask(msgs ...message) ([]message, error) {
	var wire []byte
	due := 0
	for _, m := range msgs {
		c.seq++
		wire = append(wire, c.frame(m)...)
		if m.flags&unix.NLM_F_ACK != 0 {
			due++
		}
	}
	if err := c.send(wire); err != nil {
		return nil, err
	}
	var answers []message
	for due > 0 {
		got, err := c.receive()
		if err != nil {
			return nil, err
		}
		for _, m := range got {
			switch {
			case m.kind != unix.NLMSG_ERROR:
				answers = append(answers, m)
				continue
			case refusal(m) != nil:
				c.drain()
				return nil, refusal(m)
			}
			due--
		}
	}
	return answers, nil
}

// dump asks for a list, again when it changed meanwhile.
func (c *conn) dump(m message) ([]message, error) {
	m.flags |= unix.NLM_F_REQUEST | unix.NLM_F_DUMP
	for range dumpTries {
		c.seq++
		if err := c.send(c.frame(m)); err != nil {
			return nil, err
		}
		list, steady, err := c.list()
		if err != nil || steady {
			return list, err
		}
	}
	return nil, errors.New("netlink: the list changes faster than it is read")
}

// list reads to the end of a dump. steady is false when the list may have gaps.
func (c *conn) list() (list []message, steady bool, err error) {
	steady = true
	for {
		got, err := c.receive()
		if err != nil {
			return nil, false, err
		}
		for _, m := range got {
			steady = steady && m.flags&unix.NLM_F_DUMP_INTR == 0
			switch m.kind {
			case unix.NLMSG_DONE:
				return list, steady, refusal(m)
			case unix.NLMSG_ERROR:
				return nil, false, refusal(m)
			}
			list = append(list, m)
		}
	}
}

// send writes one datagram to the kernel.
func (c *conn) send(wire []byte) error {
	if err := unix.Sendto(c.fd, wire, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	return nil
}

// frame puts the header in front.
func (c *conn) frame(m message) []byte {
	b := make([]byte, headerLen, headerLen+len(m.body))
	binary.NativeEndian.PutUint32(b, uint32(headerLen+len(m.body)))
	binary.NativeEndian.PutUint16(b[4:], m.kind)
	binary.NativeEndian.PutUint16(b[6:], m.flags)
	binary.NativeEndian.PutUint32(b[8:], c.seq)
	return padded(append(b, m.body...))
}

// receive reads one datagram of the kernel's.
func (c *conn) receive() ([]message, error) {
	buf := make([]byte, receiveSize)
	n, from, err := unix.Recvfrom(c.fd, buf, 0)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
		return nil, nil // not from the kernel
	}
	return split(buf[:n]), nil
}

// drain throws away what is still to come of an exchange that failed.
func (c *conn) drain() {
	var scrap [headerLen]byte
	for {
		if _, _, err := unix.Recvfrom(c.fd, scrap[:], unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

// split takes a datagram apart. What is malformed ends it.
func split(b []byte) []message {
	var msgs []message
	for len(b) >= headerLen {
		n := int(binary.NativeEndian.Uint32(b))
		if n < headerLen || n > len(b) {
			break
		}
		msgs = append(msgs, message{
			kind:  binary.NativeEndian.Uint16(b[4:]),
			flags: binary.NativeEndian.Uint16(b[6:]),
			body:  b[headerLen:n],
		})
		b = b[min(aligned(n), len(b)):]
	}
	return msgs
}

// refusal is the error in an acknowledgement or at the end of a list.
func refusal(m message) error {
	if len(m.body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.body)); code < 0 {
		return unix.Errno(-code)
	}
	return nil
}

// aligned is where the next header or attribute begins.
func aligned(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

func padded(b []byte) []byte { return append(b, make([]byte, aligned(len(b))-len(b))...) }

// attr is an attribute, with its padding.
func attr(kind uint16, value ...[]byte) []byte {
	b := make([]byte, attrLen)
	for _, v := range value {
		b = append(b, v...)
	}
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	return padded(b)
}

// nested is an attribute made of attributes.
func nested(kind uint16, attrs ...[]byte) []byte { return attr(kind|unix.NLA_F_NESTED, attrs...) }

func attrString(kind uint16, s string) []byte { return attr(kind, append([]byte(s), 0)) }

func attrNative(kind uint16, v uint32) []byte { return attr(kind, native32(v)) }

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// attrs goes over the attributes in b.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= attrLen {
			n := int(binary.NativeEndian.Uint16(b))
			if n < attrLen || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED, b[attrLen:n]) {
				return
			}
			b = b[min(aligned(n), len(b)):]
		}
	}
}

// attrOf is the value of the first attribute of that kind behind a fixed part of the body.
func attrOf(body []byte, fixed int, kind uint16) ([]byte, bool) {
	if len(body) < fixed {
		return nil, false
	}
	for k, v := range attrs(body[fixed:]) {
		if k == kind {
			return slices.Clone(v), true
		}
	}
	return nil, false
}

// numberOf is the same for a number of the kernel's byte order, of which 8 and 32 bits are known.
func numberOf(body []byte, fixed int, kind uint16) uint32 {
	switch v, _ := attrOf(body, fixed, kind); len(v) {
	case 1:
		return uint32(v[0])
	case 4:
		return binary.NativeEndian.Uint32(v)
	}
	return 0
}
