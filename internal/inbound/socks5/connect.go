package socks5

import (
	"context"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// dialLimit is a safety net: a dialer has bounds of its own, and shorter ones.
const dialLimit = time.Minute

// connect serves CONNECT. Nothing is read from the client while the dial is under way: what a client sends
// early is the target's, and one that half-closes early still waits for the answer.
func (f *flow) connect(ctx context.Context, target socksaddr.Addr) {
	f.target = target.String()
	stream, err := f.dial(ctx)
	if err != nil {
		f.fail(ctx, replyCode(err), err)
		return
	}
	result := relay.Result{Err: f.reply(socksaddr.Addr{})}
	if result.Err == nil {
		result = relay.Streams(ctx, f.client, stream, f.settings.Limits)
	} else {
		_ = transport.Abort(stream)
	}
	if carried, ok := stream.(transport.Carried); ok {
		f.upstream = carried.Upstream() // in the end: a flow may change its upstream before it is answered
	}
	f.end(ctx, result)
}

func (f *flow) dial(ctx context.Context) (transport.StreamConn, error) {
	ctx = transport.WithClient(ctx, hostOf(f.client.RemoteAddr()))
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	return f.settings.Stream.DialStream(ctx, f.target)
}
