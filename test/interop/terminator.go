package interop

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
)

// StartTerminator starts a Shadowsocks server for TCP that keeps the two halves of a flow apart, which
// ss-server does not, and returns its address. It is written on the suite's own codec.
func StartTerminator(t *testing.T, host netip.Addr, cipher string) string {
	t.Helper()
	key, err := newShadowKey(cipher, secret)
	if err != nil {
		t.Fatal(err)
	}
	return StartTCP(t, host, func(conn *net.TCPConn) {
		if err := terminate(conn, key); err != nil {
			t.Logf("terminator: %v", err)
		}
	})
}

// terminate serves one flow. A half that breaks resets the other.
func terminate(client *net.TCPConn, key shadowKey) error {
	in := key.NewReader(client)
	out, err := key.NewWriter(client)
	if err != nil {
		return err
	}
	addr, err := readTarget(in)
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	target := conn.(*net.TCPConn)
	defer target.Close()
	var sendErr, receiveErr error
	var halves sync.WaitGroup
	halves.Go(func() { sendErr = carry(target, in, target, client) })
	halves.Go(func() { receiveErr = carry(out, target, client, target) })
	halves.Wait()
	return errors.Join(sendErr, receiveErr)
}

// carry copies from r to w until the end, which it passes on as the end of to's sending half. On an error it
// resets both connections.
func carry(w io.Writer, r io.Reader, to, from *net.TCPConn) error {
	_, err := io.Copy(w, struct{ io.Reader }{r})
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		reset(to)
		reset(from)
	}
	return err
}

// readTarget reads the address of SOCKS5 form that a Shadowsocks stream begins with.
func readTarget(r io.Reader) (string, error) {
	var kind [1]byte
	if _, err := io.ReadFull(r, kind[:]); err != nil {
		return "", err
	}
	var size int
	switch kind[0] {
	case 1:
		size = net.IPv4len
	case 4:
		size = net.IPv6len
	case 3:
		var length [1]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return "", err
		}
		size = int(length[0])
	default:
		return "", fmt.Errorf("address of type %d", kind[0])
	}
	rest := make([]byte, size+2)
	if _, err := io.ReadFull(r, rest); err != nil {
		return "", err
	}
	host := string(rest[:size])
	if kind[0] != 3 {
		host = net.IP(rest[:size]).String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(rest[size:])))), nil
}
