package h3

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
)

// dial opens a stream with the test's patience.
func dial(t *testing.T, d *Dialer, u *url.URL) (transport.StreamConn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return d.DialCarrier(ctx, u)
}

func TestRequestAsTheServerSeesIt(t *testing.T) {
	s := newServer(t).start()
	d := s.client(func(c *Config) {
		c.Header = http.Header{
			"Origin": {"https://a.example"}, "X-Two": {"1", "2"}, "Host": {"front.example"},
		}
	})
	u, err := url.Parse("wss://" + s.addr.String() + "/se%2Fcret/%7Ea+b;c?b=2&a=%41&&empty=&x=%zz")
	if err != nil {
		t.Fatal(err)
	}
	near, err := dial(t, d, u)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	r := <-s.requests
	for _, f := range []struct{ name, got, want string }{
		{"method", r.Method, http.MethodConnect},
		{"protocol", r.Proto, "websocket"},
		{"path", r.RequestURI, u.RequestURI()},
		{"host", r.Host, "front.example"},
		{"Origin", r.Header.Get("Origin"), "https://a.example"},
		{"Sec-WebSocket-Version", r.Header.Get("Sec-Websocket-Version"), "13"},
	} {
		if f.got != f.want {
			t.Errorf("%s = %q, want %q", f.name, f.got, f.want)
		}
	}
	if got := r.Header["X-Two"]; len(got) != 2 || got[0] != "1" || got[1] != "2" {
		t.Errorf("X-Two = %q, want both values", got)
	}
	for _, name := range strings.Fields("User-Agent Accept-Encoding Upgrade Connection Sec-Websocket-Key") {
		if got, ok := r.Header[name]; ok {
			t.Errorf("%s = %q, want none", name, got)
		}
	}
	if got := d.Header.Get("Sec-Websocket-Version"); got != "" {
		t.Errorf("the dialer's own header has Sec-WebSocket-Version %q now", got)
	}
}

func TestRequestWithoutHeaders(t *testing.T) {
	s := newServer(t).start()
	near, _ := s.open(s.client())
	defer near.Close()
	if got, want := (<-s.requests).Host, s.addr.String(); got != want {
		t.Errorf("host = %q, want %q", got, want)
	}
}

func TestUserAgentIsTheUsersOwn(t *testing.T) {
	s := newServer(t).start()
	near, _ := s.open(s.client(func(c *Config) { c.Header = http.Header{"User-Agent": {"mine"}} }))
	defer near.Close()
	if got := (<-s.requests).Header["User-Agent"]; len(got) != 1 || got[0] != "mine" {
		t.Errorf("User-Agent = %q, want mine", got)
	}
}

// wantStage demands an error of HTTP/3 at a stage.
func wantStage(t *testing.T, err error, stage carrier.Stage) {
	t.Helper()
	e, ok := errors.AsType[*carrier.Error](err)
	if !ok || e.Mode != carrier.H3 || e.Stage != stage {
		t.Errorf("error = %v, want one of %v at stage %s", err, carrier.H3, stage)
	}
}

func TestStatusOtherThan200(t *testing.T) {
	for _, status := range []int{http.StatusNoContent, http.StatusNotFound, http.StatusBadGateway} {
		s := newServer(t)
		s.handle = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
		s.start()
		d := s.client()
		_, err := dial(t, d, s.url())
		wantStage(t, err, carrier.StageHandshake)
		got, ok := errors.AsType[*carrier.StatusError](err)
		if !ok || got.Code != status || got.Want != http.StatusOK {
			t.Errorf("error of status %d = %v, want a StatusError with both codes", status, err)
		}
	}
}

func TestInterimResponses(t *testing.T) {
	tests := []struct {
		name string
		n    int
		ok   bool
	}{
		{"one", 1, true}, {"as many as allowed", maxInterim - 1, true}, {"too many", maxInterim, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			s.handle = func(w http.ResponseWriter, _ *http.Request) {
				for range tt.n {
					w.WriteHeader(http.StatusEarlyHints)
				}
				w.WriteHeader(http.StatusOK)
			}
			s.start()
			near, err := dial(t, s.client(), s.url())
			if (err == nil) != tt.ok {
				t.Fatalf("dial = %v, want success: %v", err, tt.ok)
			}
			if err == nil {
				_ = near.Close()
			}
		})
	}
}

func TestNoResponse(t *testing.T) {
	tests := []struct {
		name string
		end  func(*http3.Stream)
		want error
		code http3.ErrCode
	}{
		{"end", func(s *http3.Stream) { _ = s.Close() }, errNoResponse, 0},
		{"reset", func(s *http3.Stream) {
			s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeInternalError))
		}, nil, http3.ErrCodeInternalError},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			s.handle = func(w http.ResponseWriter, _ *http.Request) {
				stream, err := w.(http3.HTTPStreamer).HTTPStream()
				if err != nil {
					t.Error(err)
					return
				}
				tt.end(stream)
			}
			s.start()
			_, err := dial(t, s.client(), s.url())
			wantStage(t, err, carrier.StageHandshake)
			reset, _ := errors.AsType[*StreamError](err)
			switch {
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("dial = %v, want %v", err, tt.want)
			case tt.want == nil && (reset == nil || reset.Code != tt.code):
				t.Errorf("dial = %v, want %v", err, tt.code)
			}
		})
	}
}

// A request that the server rejects was not looked at and may go elsewhere.
func TestRejectedRequestsAreTriedAgain(t *testing.T) {
	if err := error(&StreamError{http3.ErrCodeRequestRejected}); !errors.Is(err, carrier.ErrRetry) {
		t.Errorf("%v is no carrier.ErrRetry", err)
	}
	if err := error(&StreamError{http3.ErrCodeRequestCanceled}); errors.Is(err, carrier.ErrRetry) {
		t.Errorf("%v is a carrier.ErrRetry", err)
	}
}

func TestDialIsBoundedDuringTheHandshake(t *testing.T) {
	s := newServer(t)
	s.handle = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s.start()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("not wanted any more")
	result := make(chan error)
	d := s.client()
	go func() {
		_, err := d.DialCarrier(ctx, s.url())
		result <- err
	}()
	<-s.requests
	cancel(why)
	err := <-result
	wantStage(t, err, carrier.StageHandshake)
	if !errors.Is(err, why) {
		t.Errorf("cancelled dial = %v, want %v", err, why)
	}
}

func TestServerWithFewStreams(t *testing.T) {
	const limit, flows = 3, 10
	s := newServer(t)
	s.config.MaxIncomingStreams = limit
	s.start()
	d := s.client()
	streams := make(chan transport.StreamConn, flows)
	for range flows {
		go func() {
			near, err := dial(t, d, s.url())
			if err != nil {
				t.Error(err)
			}
			streams <- near
		}()
	}
	for range flows {
		if near := <-streams; near != nil {
			defer near.Close()
		}
	}
	if got, least := s.accepted(), (flows+limit-1)/limit; got < least {
		t.Errorf("%d streams on %d connections, want at least %d", flows, got, least)
	}
}

func TestFullConnectionSaysSo(t *testing.T) {
	s := newServer(t)
	s.config.MaxIncomingStreams = 1
	s.start()
	near, far := s.open(s.client())
	c := session(t, near)
	_, err := c.Open(t.Context(), s.url(), nil)
	if !errors.Is(err, carrier.ErrFull) {
		t.Fatalf("second stream = %v, want %v", err, carrier.ErrFull)
	}
	if l := c.Load(); l.Room || l.Streams != 1 {
		t.Errorf("Load() of a full connection = %+v, want 1 stream and no room", l)
	}
	if !c.Usable() {
		t.Error("Usable() of a full connection = false, want true")
	}
	_ = far.Close()
	_ = near.Close()
	untilIdle(t, c)
	if !c.Load().Room {
		t.Error("no room after the only stream ended")
	}
	again, err := c.Open(t.Context(), s.url(), nil)
	if err != nil {
		t.Fatalf("stream after the end of another = %v, want nil", err)
	}
	_ = again.Close()
}

// GOAWAY leaves the open streams alone, and new ones go to a new connection.
func TestGoAwayDrains(t *testing.T) {
	s := newServer(t).start()
	d := s.client()
	near, far := s.open(d)
	c := session(t, near)
	shut := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { shut <- s.http.Shutdown(ctx) }()
	// Nothing tells when GOAWAY has come but a stream that is refused.
	until(t, "connection drains", func() bool {
		extra, err := c.Open(ctx, s.url(), nil)
		if err == nil {
			_ = (<-s.opened).Close()
			_ = extra.Close()
			return false
		}
		return errors.Is(err, errGoingAway) && errors.Is(err, carrier.ErrRetry)
	})
	if c.Usable() || c.Ended() {
		t.Errorf("draining connection: Usable() = %v, Ended() = %v, want false, false", c.Usable(), c.Ended())
	}
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Errorf("read on a draining connection = %v, want nil", err)
	}
	_ = far.Close()
	_ = near.Close()
	until(t, "connection ends with its last stream", c.Ended)
	if err := <-shut; err != nil {
		t.Errorf("server's shutdown = %v, want nil", err)
	}
}

func TestOpenOnALostConnectionIsTriedAgain(t *testing.T) {
	s := newServer(t).start()
	near, _ := s.open(s.client())
	c := session(t, near)
	_ = c.Close()
	_, err := c.Open(t.Context(), s.url(), nil)
	if !errors.Is(err, carrier.ErrRetry) {
		t.Errorf("open on a closed connection = %v, want %v", err, carrier.ErrRetry)
	}
}
