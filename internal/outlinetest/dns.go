package outlinetest

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// DNSAddr4 is the A record that StartDNS has for every name (RFC 5737).
	DNSAddr4 = "192.0.2.1"
	// DNSAddr6 is the AAAA record (RFC 3849).
	DNSAddr6 = "2001:db8::1"

	dnsTTL = 60 // seconds
)

// StartDNS is a name server over UDP: A and AAAA of any name are DNSAddr4 and DNSAddr6, other types are
// empty, and names that end in ".invalid." do not exist.
func StartDNS(addr string) (*Target, error) {
	return startUDP(addr, answerDNS)
}

// answerDNS returns nil for what is no query.
func answerDNS(query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	answer := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: head.ID, Response: true, OpCode: head.OpCode,
			RecursionDesired: head.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{q},
	}
	if strings.HasSuffix(strings.ToLower(q.Name.String()), ".invalid.") {
		answer.RCode = dnsmessage.RCodeNameError
	} else if body := dnsBody(q); body != nil {
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: dnsTTL},
			Body:   body,
		}}
	}
	packed, err := answer.Pack()
	if err != nil {
		return nil
	}
	return packed
}

func dnsBody(q dnsmessage.Question) dnsmessage.ResourceBody {
	switch q.Type {
	case dnsmessage.TypeA:
		return &dnsmessage.AResource{A: netip.MustParseAddr(DNSAddr4).As4()}
	case dnsmessage.TypeAAAA:
		return &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(DNSAddr6).As16()}
	default:
		return nil
	}
}
