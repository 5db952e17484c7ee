package socks5

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/relay"
	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// inbound is what logs call this package.
const inbound = "socks5"

const (
	// handshakeLimit is how long a client may take from connecting to the end of its request.
	handshakeLimit = 10 * time.Second
	// passwordDelay slows down those who guess.
	passwordDelay = time.Second
	// replyLimit is how long the few bytes of a reply may wait for room in the socket.
	replyLimit = 10 * time.Second

	// A client that was refused may still be sending. Closing a socket with unread input resets it, which can
	// destroy the reply on its way, so some input is read away first.
	farewellLimit = 2 * time.Second
	farewellBytes = 64 << 10
)

// flow is one client conversation. One goroutine owns it.
type flow struct {
	server   *Server
	settings *Settings // when it began
	client   transport.StreamConn
	id       uint64
	began    time.Time

	// Known once there is a request.
	proto    string
	target   string // empty for an association, which has many
	upstream string // empty for an association, which may change it
}

// serve ends with the client's connection closed. The end of accepting sends away a client that has said
// nothing yet, the end of ctx resets one at any point.
func (f *flow) serve(ctx, accepting context.Context) {
	defer f.close(ctx)
	stop := context.AfterFunc(ctx, func() { f.close(ctx) })
	defer stop()
	req, err := f.handshake(accepting)
	if err != nil {
		f.refuse(ctx, err)
		return
	}
	f.proto = protoTCP
	if req.command == commandAssociate {
		f.proto = protoUDP
	}
	leave, err := f.server.gate().Enter(ctx, f.proto)
	if err != nil {
		f.turnAway(ctx, err)
		return
	}
	defer leave()
	f.server.noteInside(f.id)
	observer := f.server.observer()
	observer.FlowOpened(f.proto)
	defer observer.FlowClosed(f.proto)
	if f.proto == protoUDP {
		f.associate(ctx, accepting, req.target)
		return
	}
	f.connect(ctx, req.target)
}

// close ends the client's connection: with a reset once ctx is done, which cuts the flow, else cleanly.
func (f *flow) close(ctx context.Context) {
	if ctx.Err() != nil {
		_ = transport.Abort(f.client)
		return
	}
	_ = f.client.Close()
}

// handshake leaves the connection without a deadline when it succeeds.
func (f *flow) handshake(accepting context.Context) (request, error) {
	if err := f.client.SetDeadline(f.began.Add(handshakeLimit)); err != nil {
		return request{}, err
	}
	head, err := f.firstWords(accepting)
	if err != nil {
		return request{}, err
	}
	req, err := negotiate(f.client, head, f.settings.Users)
	if err != nil {
		return request{}, err
	}
	return req, f.client.SetDeadline(time.Time{})
}

func (f *flow) firstWords(accepting context.Context) (head [2]byte, err error) {
	stop := context.AfterFunc(accepting, func() { _ = f.client.Close() })
	_, err = io.ReadFull(f.client, head[:])
	if !stop() {
		return head, context.Cause(accepting)
	}
	return head, err
}

// refuse ends a failed handshake.
func (f *flow) refuse(ctx context.Context, err error) {
	if errors.Is(err, errPassword) {
		wait(ctx, passwordDelay)
		f.log().WarnContext(ctx, "authentication failed", "err", reason(ctx, err))
	} else {
		f.log().DebugContext(ctx, "handshake failed", "err", reason(ctx, err))
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		f.farewell(ctx, r.answer)
	}
}

// farewell sends the last bytes, if any, in such a way that they arrive.
func (f *flow) farewell(ctx context.Context, answer []byte) {
	if ctx.Err() != nil {
		return
	}
	if err := f.client.SetDeadline(time.Now().Add(farewellLimit)); err != nil {
		return
	}
	if len(answer) > 0 {
		if _, err := f.client.Write(answer); err != nil {
			return
		}
	}
	if err := f.client.CloseWrite(); err != nil {
		return
	}
	var scrap [256]byte // and not io.Discard's 8 KiB: there may be many who are turned away
	for n := 0; n < farewellBytes; {
		m, err := f.client.Read(scrap[:])
		if err != nil {
			return
		}
		n += m
	}
}

// reply sends what lets the client begin.
func (f *flow) reply(bound socksaddr.Addr) error {
	if err := f.client.SetWriteDeadline(time.Now().Add(replyLimit)); err != nil {
		return err
	}
	if _, err := f.client.Write(makeReply(replySucceeded, bound)); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	return f.client.SetWriteDeadline(time.Time{})
}

// fail ends a flow that never began.
func (f *flow) fail(ctx context.Context, code byte, err error) {
	f.log().WarnContext(ctx, "flow failed", "dur", time.Since(f.began), "err", reason(ctx, err))
	f.farewell(ctx, makeReply(code, socksaddr.Addr{}))
}

// turnAway ends a flow for which there is no room. Who keeps the gate logs how many these are.
func (f *flow) turnAway(ctx context.Context, err error) {
	if f.server.logger().Enabled(ctx, slog.LevelDebug) { // saves memory when there is none
		f.log().DebugContext(ctx, "flow refused", "dur", time.Since(f.began), "err", reason(ctx, err))
	}
	f.farewell(ctx, makeReply(replyGeneralFailure, socksaddr.Addr{}))
}

// end logs a flow that began.
func (f *flow) end(ctx context.Context, r relay.Result) {
	log := f.log().With("sent", r.Sent, "received", r.Received, "dur", time.Since(f.began))
	if err := reason(ctx, r.Err); err != nil {
		log.InfoContext(ctx, "flow broken", "err", err)
		return
	}
	if f.proto == protoTCP && r.Sent > 0 && r.Received == 0 {
		log.InfoContext(ctx, "flow closed without an answer", "reason", silenceReason(time.Since(f.began)))
		return
	}
	log.DebugContext(ctx, "flow closed")
}

// drainsAfter is the age from which a flow that nothing answered looks like one that the server could not
// decrypt: such a server swallows what comes.
const drainsAfter = 5 * time.Second

// silenceReason says what an end without an answer may mean: it can be how the target does things, and
// Shadowsocks has no other way to say that a target refused.
func silenceReason(age time.Duration) string {
	if age >= drainsAfter {
		return "the target had nothing to say, or the secret is wrong"
	}
	return "the target had nothing to say, or refused"
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
	log := f.server.logger().With("flow", f.id, "inbound", inbound)
	if f.proto != "" {
		log = log.With("proto", f.proto)
	}
	log = log.With("client", f.client.RemoteAddr().String())
	if f.target != "" {
		log = log.With("target", f.target)
	}
	if f.upstream != "" {
		log = log.With("upstream", f.upstream)
	}
	return log
}
