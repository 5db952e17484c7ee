//go:build e2e && linux

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// answerWho answers whoever asks who it is, in a datagram or with the first bytes of a connection, with the
// address that it sees. What else comes is sent back.
func answerWho(addr string) error {
	p, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := p.ReadFrom(buf)
			switch {
			case err != nil:
			case n == len(who):
				_, _ = p.WriteTo([]byte(from.String()), from)
			default:
				_, _ = p.WriteTo(buf[:n], from)
			}
		}
	}()
	return accept(addr, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(who))); err != nil {
			return
		}
		_, _ = fmt.Fprint(c, c.RemoteAddr())
		_, _ = io.Copy(c, c)
	})
}

// accept serves connections until the process ends.
func accept(addr string, serve func(net.Conn)) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				continue
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c)
			}()
		}
	}()
	return nil
}

// serveWeb answers every request with the address that it came from.
func serveWeb(addr string) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprint(w, r.RemoteAddr)
		}),
	}
	go func() { _ = s.Serve(l) }()
	return nil
}

// serveNames is a name server, over UDP and TCP. TXT of any name is the server's own address.
func serveNames(addr string) error {
	p, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			if n, from, err := p.ReadFrom(buf); err == nil {
				_, _ = p.WriteTo(answerName(buf[:n], addr), from)
			}
		}
	}()
	return accept(addr, func(c net.Conn) {
		for {
			head := make([]byte, 2)
			if _, err := io.ReadFull(c, head); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(head))
			if _, err := io.ReadFull(c, query); err != nil {
				return
			}
			answer := answerName(query, addr)
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
		}
	})
}

func answerName(query []byte, addr string) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) == 0 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	at4, at6 := web4, web6
	if strings.HasPrefix(q.Name.String(), serverName) {
		at4, at6 = server4, ""
	}
	var body dnsmessage.ResourceBody
	switch q.Type { //nolint:exhaustive // the others have no answer
	case dnsmessage.TypeA:
		body = &dnsmessage.AResource{A: netip.MustParseAddr(at4).As4()}
	case dnsmessage.TypeAAAA:
		if at6 != "" {
			body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(at6).As16()}
		}
	case dnsmessage.TypeTXT:
		body = &dnsmessage.TXTResource{TXT: []string{addr}}
	}
	if body != nil {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   body,
		}}
	}
	answer, _ := m.Pack() // made of what was unpacked
	return answer
}
