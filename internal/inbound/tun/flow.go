package tun

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// dialLimit is a safety net: a dialer has bounds of its own, and shorter ones.
const dialLimit = time.Minute

// request is a connection that an application wants. One of accept and refuse is called, once.
type request interface {
	// accept completes the connection, which may hold window bytes in either direction. It may wait for the
	// application's host, up to 15 s.
	accept(window int) (transport.StreamConn, error)
	// refuse resets it.
	refuse()
}

// flow is one TCP conversation. One goroutine owns it.
type flow struct {
	server         *Server
	settings       *Settings // when it began
	client, target netip.AddrPort
	id             uint64
	window         int
	began          time.Time
	upstream       string
}

// serveStream serves a connection from its first packet to its end.
func (s *Server) serveStream(ctx context.Context, client, target netip.AddrPort, r request) {
	f := &flow{server: s, settings: s.settings(), client: client, target: target, began: time.Now()}
	if !f.settings.usable(protoTCP) {
		s.Counters.dropped(dropNoUpstream)
		r.refuse()
		return
	}
	ctx, t, err := s.flows.begin(ctx, f.settings.maxFlows())
	if err != nil {
		s.Counters.dropped(dropFull)
		r.refuse()
		return
	}
	defer t.end()
	leave, err := s.gate().Enter(ctx, protoTCP)
	if err != nil {
		s.Counters.dropped(dropFull)
		r.refuse()
		return
	}
	defer leave()
	f.id, f.window = t.id, windowFor(t.live, f.settings.windows())
	s.observer().FlowOpened(protoTCP)
	defer s.observer().FlowClosed(protoTCP)
	f.serve(ctx, r)
}

// serve dials before it accepts, so that the application sees the target's refusal as its own.
func (f *flow) serve(ctx context.Context, r request) {
	if f.target.Port() == portDNS && f.settings.DNS != nil {
		f.serveDNS(ctx, r)
		return
	}
	stream, err := f.dial(ctx)
	if err != nil {
		r.refuse()
		f.log().WarnContext(ctx, "flow failed", "dur", time.Since(f.began), "err", reason(ctx, err))
		return
	}
	client, err := f.accept(ctx, r)
	if err != nil {
		_ = transport.Abort(stream)
		f.log().DebugContext(ctx, "client gave up", "dur", time.Since(f.began), "err", reason(ctx, err))
		return
	}
	result := relay.Streams(ctx, client, stream, f.settings.Limits)
	if carried, ok := stream.(transport.Carried); ok {
		f.upstream = carried.Upstream() // in the end: a flow may change its upstream before it is answered
	}
	f.end(ctx, result)
}

// accept refuses what has been cut meanwhile.
func (f *flow) accept(ctx context.Context, r request) (transport.StreamConn, error) {
	if err := ctx.Err(); err != nil {
		r.refuse()
		return nil, err
	}
	return r.accept(f.window)
}

func (f *flow) dial(ctx context.Context) (transport.StreamConn, error) {
	ctx = transport.WithClient(ctx, f.client.Addr())
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	return f.settings.Stream.DialStream(ctx, f.target.String())
}

// end logs a flow that began.
func (f *flow) end(ctx context.Context, r relay.Result) {
	log := f.log().With("sent", r.Sent, "received", r.Received, "dur", time.Since(f.began))
	if err := reason(ctx, r.Err); err != nil {
		log.InfoContext(ctx, "flow broken", "err", err)
		return
	}
	log.DebugContext(ctx, "flow closed")
}

// reason returns why a flow ended: whatever goes wrong after a cut is a consequence of it.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// log says what is known of the flow.
func (f *flow) log() *slog.Logger {
	log := f.server.logger().With("flow", f.id, "inbound", inbound, "proto", protoTCP,
		"client", f.client.String(), "target", f.target.String())
	if f.upstream != "" {
		log = log.With("upstream", f.upstream)
	}
	return log
}
