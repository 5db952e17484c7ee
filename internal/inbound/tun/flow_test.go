package tun

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

var (
	aClient = netip.MustParseAddrPort("172.19.0.1:40000")
	aTarget = netip.MustParseAddrPort("203.0.113.7:443")
)

// dialFunc is a dialer.
type dialFunc func(ctx context.Context, addr string) (transport.StreamConn, error)

func (f dialFunc) DialStream(ctx context.Context, addr string) (transport.StreamConn, error) {
	return f(ctx, addr)
}

// fakeRequest counts its answers.
type fakeRequest struct {
	client            transport.StreamConn // nil fails the handshake
	accepted, refused int
	window            int
}

func (r *fakeRequest) accept(window int) (transport.StreamConn, error) {
	r.accepted++
	r.window = window
	if r.client == nil {
		return nil, errors.New("no answer to SYN-ACK")
	}
	return r.client, nil
}

func (r *fakeRequest) refuse() { r.refused++ }

// shutGate lets nobody in.
type shutGate struct{}

func (shutGate) Enter(context.Context, string) (leave func(), err error) { return nil, errFull }

// tally is an Observer.
type tally struct{ opened, closed atomic.Int32 }

func (o *tally) FlowOpened(string) { o.opened.Add(1) }
func (o *tally) FlowClosed(string) { o.closed.Add(1) }

func (r *fakeRequest) want(t *testing.T, accepted, refused int) {
	t.Helper()
	if r.accepted != accepted || r.refused != refused {
		t.Errorf("accepted %d times, refused %d times, want %d and %d",
			r.accepted, r.refused, accepted, refused)
	}
}

func TestFlowIsDialledBeforeItIsAccepted(t *testing.T) {
	app, client := transporttest.Pipe()
	target, far := transporttest.Pipe()
	r := &fakeRequest{client: client}
	seen := new(tally)
	s := &Server{Observer: seen}
	s.Stream = dialFunc(func(ctx context.Context, addr string) (transport.StreamConn, error) {
		r.want(t, 0, 0)
		if addr != aTarget.String() || transport.Client(ctx) != aClient.Addr() {
			t.Errorf("dial of %s for %v, want %v for %v",
				addr, transport.Client(ctx), aTarget, aClient.Addr())
		}
		return target, nil
	})
	_, _ = app.CloseWrite(), far.CloseWrite()
	s.serveStream(t.Context(), aClient, aTarget, r)
	r.want(t, 1, 0)
	if r.window != maxWindow {
		t.Errorf("window = %d, want %d", r.window, maxWindow)
	}
	if seen.opened.Load() != 1 || seen.closed.Load() != 1 {
		t.Errorf("flows opened %d, closed %d, want 1 and 1", seen.opened.Load(), seen.closed.Load())
	}
}

func TestFlowIsRefused(t *testing.T) {
	refuse := dialFunc(func(context.Context, string) (transport.StreamConn, error) {
		return nil, errors.New("refused")
	})
	never := dialFunc(func(context.Context, string) (transport.StreamConn, error) {
		t.Error("dialled")
		return nil, errors.New("unexpected")
	})
	closed := func(s *Server) { s.flows.close() }
	shut := func(s *Server) { s.Gate = shutGate{} }
	for name, tc := range map[string]struct {
		settings Settings
		prepare  func(*Server)
		drop     drop
	}{
		"by the target": {settings: Settings{Stream: refuse}, drop: dropReasons},
		"without an upstream": {
			settings: Settings{Stream: never, Usable: func(proto string) bool { return proto == protoUDP }},
			drop:     dropNoUpstream,
		},
		"while stopping": {settings: Settings{Stream: never}, prepare: closed, drop: dropFull},
		"at the gate":    {settings: Settings{Stream: never}, prepare: shut, drop: dropFull},
		"above the limit": {
			settings: Settings{Stream: never, MaxFlows: 1},
			prepare:  func(s *Server) { _, _, _ = s.flows.begin(t.Context(), 1) },
			drop:     dropFull,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Server{Settings: tc.settings}
			if tc.prepare != nil {
				tc.prepare(s)
			}
			r := new(fakeRequest)
			s.serveStream(t.Context(), aClient, aTarget, r)
			r.want(t, 0, 1)
			for d := range dropReasons {
				want := uint64(0)
				if d == tc.drop {
					want = 1
				}
				if got := s.Counters.drops[d].Load(); got != want {
					t.Errorf("drops for %v = %d, want %d", d, got, want)
				}
			}
		})
	}
}

func TestClientThatGaveUpEndsTheDial(t *testing.T) {
	target, far := transporttest.Pipe()
	s := new(Server)
	s.Stream = dialFunc(func(context.Context, string) (transport.StreamConn, error) { return target, nil })
	r := new(fakeRequest)
	s.serveStream(t.Context(), aClient, aTarget, r)
	r.want(t, 1, 0)
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Error("the target's connection goes on")
	}
}

func TestShutdownCutsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Settings: Settings{Stream: dialFunc(
			func(ctx context.Context, _ string) (transport.StreamConn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})}}
		r := new(fakeRequest)
		go s.serveStream(t.Context(), aClient, aTarget, r)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		err := s.Shutdown(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("Shutdown() = %v after %v, want %v after 10s",
				err, time.Since(began), context.DeadlineExceeded)
		}
		r.want(t, 0, 1)
	})
}

func TestUpdateIsForFlowsToCome(t *testing.T) {
	var s Server
	s.MaxFlows = 1
	if got := s.settings().maxFlows(); got != 1 {
		t.Errorf("maxFlows() = %d, want 1", got)
	}
	s.Update(Settings{})
	if got := s.settings().maxFlows(); got != defaultMaxFlows {
		t.Errorf("maxFlows() after Update = %d, want %d", got, defaultMaxFlows)
	}
}
