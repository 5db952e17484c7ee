package tun

import (
	"bytes"
	"context"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/dnsforward"
	"github.com/outline-cli-ws/outline-cli-ws/internal/ippacket"
)

const (
	// maxQueries bounds the DNS queries under way. Those above it are dropped; applications repeat them.
	maxQueries = 1024
	// queryTimeout is how long applications wait in all, more or less.
	queryTimeout = 10 * time.Second
)

// handleQuery gives a DNS query to the resolver. The answer comes from the server that was asked, as far as
// the application can tell.
func (d *datagrams) handleQuery(s *Settings, p *ippacket.Packet, u *ippacket.UDP) {
	switch {
	case !dnsforward.IsQuery(u.Payload):
		d.counters.dropped(dropMalformed)
		return
	case !s.usable(protoUDP) && !s.usable(protoTCP):
		d.refuse(p, dropNoUpstream)
		return
	case d.asking.Add(1) > maxQueries:
		d.asking.Add(-1)
		d.counters.dropped(dropQueue)
		return
	}
	question := ippacket.UDP{Source: u.Source, Target: u.Target, Payload: bytes.Clone(u.Payload)}
	started := d.table.start(func() {
		defer d.asking.Add(-1)
		d.resolve(s.DNS, question)
	})
	if !started {
		d.asking.Add(-1)
	}
}

// resolve answers a question. A failure is an answer too: the application need not wait for it.
func (d *datagrams) resolve(r Resolver, question ippacket.UDP) {
	ctx, cancel := context.WithTimeout(d.ctx, queryTimeout)
	defer cancel()
	answer, err := r.Query(ctx, question.Payload)
	if err != nil {
		if d.ctx.Err() != nil {
			return
		}
		d.log.DebugContext(ctx, "dns query failed", "client", question.Source, "err", err)
		answer = dnsforward.Failure(question.Payload)
	}
	answer = dnsforward.Fit(question.Payload, answer)
	u := ippacket.UDP{Source: question.Target, Target: question.Source, Payload: answer}
	if err := d.reply(u); err != nil {
		d.counters.dropped(dropSize)
	}
}
