package resolved

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBus is a bus with a resolved on it, which says yes to everything but what fails.
type fakeBus struct {
	path    string
	refuses bool              // it lets nobody in
	silent  bool              // it answers no call
	fails   map[string]string // the name of an error, by method
	calls   []string          // what was called: method, signature, arguments
	done    chan struct{}     // closed when its only client is gone
}

func (b *fakeBus) start(t *testing.T) {
	t.Helper()
	b.path = filepath.Join(t.TempDir(), "bus")
	b.done = make(chan struct{})
	l, err := net.Listen("unix", b.path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(b.done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if err := b.serve(conn); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-b.done })
}

func (b *fakeBus) serve(conn net.Conn) error {
	in := bufio.NewReader(conn)
	auth, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(auth, "\x00AUTH EXTERNAL ") || b.refuses {
		_, err = io.WriteString(conn, "REJECTED EXTERNAL\r\n")
		return err
	}
	if _, err := io.WriteString(conn, "OK 0123\r\n"); err != nil {
		return err
	}
	if begin, err := in.ReadString('\n'); err != nil || begin != "BEGIN\r\n" {
		return errors.New("no BEGIN, but " + begin)
	}
	for {
		serial, member, err := b.read(in)
		if err != nil {
			return err
		}
		if b.silent {
			continue
		}
		signal := message(4, 1, "org.freedesktop.NameAcquired")
		answer := message(answerKind(b.fails[member]), serial, b.fails[member])
		if _, err := conn.Write(append(signal, answer...)); err != nil {
			return err
		}
	}
}

func answerKind(failure string) byte {
	if failure != "" {
		return kindError
	}
	return kindReturn
}

// read reads a call and notes it.
func (b *fakeBus) read(in io.Reader) (serial uint32, member string, err error) {
	fixed := make([]byte, fixedHeader)
	if _, err := io.ReadFull(in, fixed); err != nil {
		return 0, "", err
	}
	le := binary.LittleEndian
	header := le.Uint32(fixed[12:])
	rest := make([]byte, (header+7)&^7+le.Uint32(fixed[4:]))
	if _, err := io.ReadFull(in, rest); err != nil {
		return 0, "", err
	}
	var signature string
	f := fields{order: le, bytes: rest[:header]}
	for f.at < len(f.bytes) {
		one, ok := f.next()
		switch {
		case !ok:
			return 0, "", errMalformed
		case one.code == fieldMember:
			member = string(one.value)
		case one.code == fieldSignature:
			signature = string(one.value)
		}
	}
	if member != "Hello" {
		args := hex.EncodeToString(rest[(header+7)&^7:])
		b.calls = append(b.calls, strings.TrimSpace(member+" "+signature+" "+args))
	}
	return le.Uint32(fixed[8:]), member, nil
}

// message is one of the bus's, with a text in its body.
func message(kind byte, to uint32, failure string) []byte {
	args := newBody("s").string("who cares")
	h := body{}.raw([]byte{'l', kind, 1, 1}).uint32(uint32(len(args.bytes))).uint32(99)
	h = h.array(8, func(b body) body {
		b = b.align(8).raw([]byte{fieldReplySerial}).sign("u").uint32(to)
		if failure != "" {
			b = b.field(fieldErrorName, "s", failure)
		}
		return b.align(8).raw([]byte{fieldSignature}).sign("g").sign("s")
	})
	return append(h.align(8).bytes, args.bytes...)
}
