package interop

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNSAnswer is the address that the suite's name server gives for every name.
const DNSAnswer = "192.0.2.53"

// StartDNS starts a name server for UDP and TCP on host. It returns their addresses, whose ports differ.
func StartDNS(t *testing.T, host netip.Addr) (udp, tcp string) {
	t.Helper()
	udp = startUDP(t, host, func(query []byte) []byte {
		reply, err := answerDNS(query, sameForAll)
		if err != nil {
			t.Errorf("dns over udp: %v", err)
		}
		return reply
	})
	tcp = StartTCP(t, host, func(conn *net.TCPConn) {
		if err := serveDNS(conn); err != nil {
			t.Errorf("dns over tcp: %v", err)
		}
	})
	return udp, tcp
}

// serveDNS answers one query with its two-byte length in front (RFC 7766, section 8).
func serveDNS(conn *net.TCPConn) error {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return err
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return err
	}
	reply, err := answerDNS(query, sameForAll)
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	return err
}

// Zone is the addresses of names, without a dot at the end.
type Zone map[string][]netip.Addr

// StartZone starts a name server for UDP on host that knows the names of a zone, and returns its address.
func StartZone(t *testing.T, host netip.Addr, zone Zone) string {
	t.Helper()
	return startUDP(t, host, func(query []byte) []byte {
		reply, err := answerDNS(query, zone.answer)
		if err != nil {
			t.Errorf("dns: %v", err)
		}
		return reply
	})
}

func (z Zone) answer(question dnsmessage.Question) (answers []dnsmessage.ResourceBody) {
	for _, addr := range z[strings.TrimSuffix(strings.ToLower(question.Name.String()), ".")] {
		switch {
		case question.Type == dnsmessage.TypeA && addr.Is4():
			answers = append(answers, &dnsmessage.AResource{A: addr.As4()})
		case question.Type == dnsmessage.TypeAAAA && addr.Is6():
			answers = append(answers, &dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
	}
	return answers
}

func sameForAll(dnsmessage.Question) []dnsmessage.ResourceBody {
	return []dnsmessage.ResourceBody{&dnsmessage.AResource{A: netip.MustParseAddr(DNSAnswer).As4()}}
}

func answerDNS(query []byte, answer func(dnsmessage.Question) []dnsmessage.ResourceBody) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(query); err != nil {
		return nil, err
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: message.ID, Response: true, RecursionAvailable: true},
		Questions: message.Questions,
	}
	for _, question := range message.Questions {
		for _, body := range answer(question) {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 60},
				Body:   body,
			})
		}
	}
	return reply.Pack()
}
