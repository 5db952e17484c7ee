package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing/iotest"
)

func dataChecks() []check {
	return []check{
		{"data from a to b", func(p *pair) error { return p.sizes(p.a, p.b) }},
		{"data from b to a", func(p *pair) error { return p.sizes(p.b, p.a) }},
		{"data both ways at once", bothWays},
		{"read into small buffers", smallReads},
		{"io.Copy from a", copyFrom},
		{"io.Copy to a", copyTo},
		{"write and its argument", writeLeavesArgument},
		{"addresses", addresses},
	}
}

// sizes sends writes of all sizes on one stream. The empty one comes first, as it must not look like an end.
func (p *pair) sizes(w, r net.Conn) error {
	for _, n := range []int{0, 1, small, 16 << 10, big, 0, 1} {
		if err := p.carry(w, r, n); err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
	}
	return nil
}

func bothWays(p *pair) error {
	want := payload(big)
	return p.together(send(p.a, want), expect(p.b, want), send(p.b, want), expect(p.a, want))
}

func smallReads(p *pair) error {
	want := payload(16 << 10)
	return p.together(send(p.b, want), expect(iotest.OneByteReader(p.a), want))
}

// io.Copy prefers WriteTo and ReadFrom, which a type that embeds a connection has without wanting it, and
// which then bypass its own Read and Write.

func copyFrom(p *pair) error {
	want := payload(big)
	return p.together(sendAll(p.b, want), func() error {
		var got bytes.Buffer
		if _, err := io.Copy(&got, p.a); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		return same(got.Bytes(), want)
	})
}

func copyTo(p *pair) error {
	want := payload(big)
	return p.together(expectAll(p.b, want), func() error {
		if _, err := io.Copy(p.a, struct{ io.Reader }{bytes.NewReader(want)}); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		return p.a.CloseWrite()
	})
}

// writeLeavesArgument holds Write to io.Writer's word: it neither keeps nor changes p.
func writeLeavesArgument(p *pair) error {
	for _, n := range []int{1, small, 16 << 10, 64 << 10} {
		want := payload(n)
		arg := bytes.Clone(want)
		err := p.together(expect(p.b, want), func() error {
			if err := send(p.a, arg)(); err != nil {
				return err
			}
			if !bytes.Equal(arg, want) {
				return errors.New("write changed its argument")
			}
			clear(arg) // what still uses it sends zeros
			return nil
		})
		if err != nil {
			return fmt.Errorf("%d bytes: %w", n, err)
		}
	}
	return nil
}

func addresses(p *pair) error {
	addrs := map[string]net.Addr{"LocalAddr": p.a.LocalAddr(), "RemoteAddr": p.a.RemoteAddr()}
	for name, addr := range addrs {
		if addr == nil {
			return fmt.Errorf("%s() = nil", name)
		}
		if addr.Network() == "" || addr.String() == "" {
			return fmt.Errorf("%s() = %q %q, want no empty text", name, addr.Network(), addr.String())
		}
	}
	return nil
}
