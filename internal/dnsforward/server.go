package dnsforward

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	udpSilence = 2 * time.Second // after which TCP is tried
	tcpSilence = 4 * time.Second // opening the stream included
	// udpPause is for how long UDP is left alone when it was silent where TCP was not: every query would wait
	// for udpSilence otherwise.
	udpPause = 30 * time.Second
)

// server is one DNS server and the ways to it.
type server struct {
	addr netip.AddrPort
	udp  *channel // nil without UDP
	tcp  *channel

	began      time.Time
	heard      atomic.Int64 // when UDP answered last, since began
	quietUntil atomic.Int64 // UDP is not used before, since began
}

func (f *Forwarder) newServer(addr netip.AddrPort) *server {
	s := &server{addr: addr, began: time.Now().Add(-1)} // so that no time since then is 0
	s.tcp = &channel{forwarder: f, replace: true, open: func(ctx context.Context) (messages, error) {
		return openStream(ctx, f.options.Stream, addr)
	}}
	if f.options.Packet != nil {
		s.udp = &channel{forwarder: f, open: func(ctx context.Context) (messages, error) {
			return openDatagrams(ctx, f.options.Packet, addr)
		}}
	}
	return s
}

// ask asks by UDP and, where that is of no use, by TCP.
func (s *server) ask(ctx context.Context, query []byte) ([]byte, error) {
	sent := time.Since(s.began)
	if s.udp == nil || int64(sent) < s.quietUntil.Load() {
		return s.tcp.exchange(ctx, query, tcpSilence)
	}
	short, err := s.udp.exchange(ctx, query, udpSilence)
	if err == nil {
		s.heard.Store(int64(time.Since(s.began)))
		if !truncated(short) {
			return short, nil
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	answer, failure := s.tcp.exchange(ctx, query, tcpSilence)
	switch {
	case failure == nil && errors.Is(err, errSilent) && s.heard.Load() < int64(sent):
		s.quietUntil.Store(int64(time.Since(s.began) + udpPause))
	case failure != nil && err == nil:
		return short, nil // better than nothing: the client may have more luck by TCP
	}
	return answer, failure
}
