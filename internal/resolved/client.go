package resolved

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

const (
	fixedHeader = 16
	// maxMessage bounds what is read: answers are short, and so is what the bus tells everyone.
	maxMessage = 64 << 10
)

// client is a connection to the bus that says one thing at a time.
type client struct {
	conn   net.Conn
	in     *bufio.Reader
	serial uint32
}

// hello introduces us to the bus, as the user that we are.
func hello(conn net.Conn) (*client, error) {
	c := &client{conn: conn, in: bufio.NewReader(conn)}
	user := hex.EncodeToString([]byte(strconv.Itoa(os.Geteuid())))
	if _, err := fmt.Fprintf(conn, "\x00AUTH EXTERNAL %s\r\n", user); err != nil {
		return nil, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(line), "OK ") {
		return nil, errors.New("the bus does not let us in")
	}
	if _, err := io.WriteString(conn, "BEGIN\r\n"); err != nil {
		return nil, err
	}
	const bus = "org.freedesktop.DBus"
	return c, c.do(method{bus, "/org/freedesktop/DBus", bus, "Hello"}, newBody(""))
}

// call calls a method of resolved's manager.
func (c *client) call(name string, args body) error {
	if err := c.do(method{service, object, manager, name}, args); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// do calls a method and waits for its end. What it returns is of no interest.
func (c *client) do(m method, args body) error {
	c.serial++
	if _, err := c.conn.Write(m.call(c.serial, args)); err != nil {
		return err
	}
	for {
		r, err := readReply(c.in)
		if err != nil {
			return err
		}
		if r.to == c.serial {
			return r.err()
		}
	}
}

// reply is what counts of a message: the call that it answers, 0 when none, and the name of an error.
type reply struct {
	to      uint32
	failure string
}

// err is what the other side says of a call.
func (r reply) err() error {
	switch r.failure {
	case "":
		return nil
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner":
		return ErrAbsent
	}
	return errors.New(r.failure)
}

var errMalformed = errors.New("malformed message")

// readReply reads one message, of which it keeps the header.
func readReply(in io.Reader) (reply, error) {
	var fixed [fixedHeader]byte
	if _, err := io.ReadFull(in, fixed[:]); err != nil {
		return reply{}, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if fixed[0] == 'B' {
		order = binary.BigEndian
	}
	header, length := order.Uint32(fixed[12:]), order.Uint32(fixed[4:])
	if header > maxMessage || length > maxMessage {
		return reply{}, errMalformed
	}
	rest := make([]byte, (header+7)&^7+length)
	if _, err := io.ReadFull(in, rest); err != nil {
		return reply{}, err
	}
	if kind := fixed[1]; kind != kindReturn && kind != kindError {
		return reply{}, nil
	}
	return readFields(fields{order: order, bytes: rest[:header]}, fixed[1])
}

// readFields reads the fields of the header.
func readFields(f fields, kind byte) (r reply, err error) {
	if kind == kindError {
		r.failure = "an error without a name"
	}
	for len(f.bytes) > f.at {
		one, ok := f.next()
		switch {
		case !ok, one.code == fieldReplySerial && len(one.value) != 4:
			return reply{}, errMalformed
		case one.code == fieldReplySerial:
			r.to = f.order.Uint32(one.value)
		case one.code == fieldErrorName && kind == kindError:
			r.failure = string(one.value)
		}
	}
	return r, nil
}

// fields are those of a header, read from an offset on. All that the bus sends are numbers of 32 bits, texts
// and signatures.
type fields struct {
	order binary.ByteOrder
	bytes []byte
	at    int
}

// field is one of them.
type field struct {
	code  byte
	value []byte
}

// next reads one: a code, a signature of one letter, a value.
func (f *fields) next() (one field, ok bool) {
	const head = 4 // code, length of the signature, signature, zero
	at := (f.at + 7) &^ 7
	if at+head > len(f.bytes) || f.bytes[at+1] != 1 {
		return field{}, false
	}
	rest := f.bytes[at+head:]
	size, skip := 4, 0
	switch f.bytes[at+2] {
	case 'u':
	case 's', 'o':
		if len(rest) < 4 || f.order.Uint32(rest) > maxMessage {
			return field{}, false
		}
		size, skip = int(f.order.Uint32(rest)), 4
	case 'g':
		if len(rest) < 1 {
			return field{}, false
		}
		size, skip = int(rest[0]), 1
	default:
		return field{}, false
	}
	if len(rest) < skip+size {
		return field{}, false
	}
	f.at = at + head + skip + size
	if skip > 0 {
		f.at++ // texts end with a zero
	}
	return field{f.bytes[at], rest[skip : skip+size]}, true
}
