package deploy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/proxy"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// flow sends a few bytes through a SOCKS5 proxy to a target that echoes them.
func flow(through, target string) error {
	dialer, err := proxy.SOCKS5("tcp", through, nil, &net.Dialer{Timeout: patience})
	if err != nil {
		return err
	}
	conn, err := dialer.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return err
	}
	answer := make([]byte, len("hello"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "hello" {
		return fmt.Errorf("answer = %q, %w", answer, err)
	}
	return nil
}

// lookUp asks a name server through an association of a SOCKS5 proxy, and returns where the proxy has it.
func lookUp(through, server string) (at netip.AddrPort, err error) {
	control, err := net.DialTimeout("tcp", through, patience)
	if err != nil {
		return at, err
	}
	defer control.Close()
	if err := control.SetDeadline(time.Now().Add(patience)); err != nil {
		return at, err
	}
	// RFC 1928: no authentication, then UDP ASSOCIATE for a client at any address.
	if _, err := control.Write([]byte{5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return at, err
	}
	reply := make([]byte, 12)
	if _, err := io.ReadFull(control, reply); err != nil {
		return at, err
	}
	if !bytes.Equal(reply[:6], []byte{5, 0, 5, 0, 0, 1}) {
		return at, fmt.Errorf("reply % x", reply)
	}
	at = netip.AddrPortFrom(netip.AddrFrom4([4]byte(reply[6:10])), uint16(reply[10])<<8|uint16(reply[11]))
	return at, ask(at, server)
}

// ask sends a query to a name server through an association, and wants an answer.
func ask(association netip.AddrPort, server string) error {
	to, err := socksaddr.Parse(server)
	if err != nil {
		return err
	}
	const id = 4711
	query := dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName("example.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	header := to.Append([]byte{0, 0, 0})
	datagram, err := query.AppendPack(header)
	if err != nil {
		return err
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(association))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write(datagram); err != nil {
		return err
	}
	answer := make([]byte, 1500)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	var parser dnsmessage.Parser
	got, err := parser.Start(answer[min(n, len(header)):n])
	if err != nil || got.ID != id || !got.Response {
		return fmt.Errorf("answer %+v, %w", got, err)
	}
	return nil
}
