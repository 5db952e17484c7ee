package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

// fetch gets a page through the SOCKS5 proxy, which resolves the name.
func fetch(ctx context.Context, proxy, page string) (string, error) {
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5h", Host: proxy})}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return string(body), err
}

// resolve asks the name server for an IPv4 address over a SOCKS5 UDP association.
func resolve(ctx context.Context, proxy, name string) (netip.Addr, error) {
	var d net.Dialer
	control, err := d.DialContext(ctx, "tcp", proxy)
	if err != nil {
		return netip.Addr{}, err
	}
	defer control.Close() // ends the association
	if deadline, ok := ctx.Deadline(); ok {
		if err := control.SetDeadline(deadline); err != nil {
			return netip.Addr{}, err
		}
	}
	relay, err := associate(control)
	if err != nil {
		return netip.Addr{}, err
	}
	conn, err := d.DialContext(ctx, "udp", relay)
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return ask(conn, name)
}

// associate asks for a UDP association (RFC 1928, section 4) and returns where its datagrams go.
func associate(control io.ReadWriter) (string, error) {
	const noAuth, udpAssociate = 0, 3
	if _, err := control.Write([]byte{5, 1, noAuth}); err != nil {
		return "", err
	}
	var method [2]byte
	if _, err := io.ReadFull(control, method[:]); err != nil {
		return "", err
	}
	if _, err := control.Write(socksaddr.Addr{}.Append([]byte{5, udpAssociate, 0})); err != nil {
		return "", err
	}
	var reply [3]byte
	if _, err := io.ReadFull(control, reply[:]); err != nil {
		return "", err
	}
	if reply[1] != 0 {
		return "", fmt.Errorf("SOCKS5 reply %d", reply[1])
	}
	addr, err := socksaddr.Read(control)
	return addr.String(), err
}

// askAgain is how long an answer may take before the question is sent again; datagrams get lost.
const askAgain = 3 * time.Second

func ask(conn net.Conn, name string) (netip.Addr, error) {
	question, err := query(name)
	if err != nil {
		return netip.Addr{}, err
	}
	target, err := socksaddr.Parse(nameServer)
	if err != nil {
		return netip.Addr{}, err
	}
	header := target.Append([]byte{0, 0, 0}) // RFC 1928, section 7
	answer := make([]byte, 2048)
	for range 3 {
		if _, err := conn.Write(append(bytes.Clone(header), question...)); err != nil {
			return netip.Addr{}, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(askAgain)); err != nil {
			return netip.Addr{}, err
		}
		n, err := conn.Read(answer)
		if err == nil {
			return firstAddress(answer[:n])
		}
	}
	return netip.Addr{}, errors.New("no answer")
}

func query(name string) ([]byte, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 1, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

func firstAddress(datagram []byte) (netip.Addr, error) {
	if len(datagram) < 3 {
		return netip.Addr{}, errors.New("short datagram")
	}
	_, message, err := socksaddr.Cut(datagram[3:])
	if err != nil {
		return netip.Addr{}, err
	}
	var m dnsmessage.Message
	if err := m.Unpack(message); err != nil {
		return netip.Addr{}, err
	}
	for _, r := range m.Answers {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			return netip.AddrFrom4(a.A), nil
		}
	}
	return netip.Addr{}, errors.New("no address in the answer")
}
