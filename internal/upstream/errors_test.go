package upstream_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// failure is one way in which opening fails.
type failure struct {
	name   string
	config outlinetest.Config
	fault  outlinetest.Fault
	edits  []edit
	stage  carrier.Stage // empty: more than one is right
	is     error         // in the chain of the error, if not nil
	text   []string      // in the error
	bound  bool          // by DialTimeout, which the error shows
}

func failures(t *testing.T) []failure {
	names, err := outlinetest.StartDNS("")
	names = target(t, names, err)
	servers := []netip.AddrPort{netip.MustParseAddrPort(names.Addr())}
	return []failure{
		{
			name: "unknown host", edits: []edit{at("server.invalid:443"), resolveBy(servers)},
			stage: carrier.StageResolve, text: []string{"server.invalid", "no such host"},
		},
		{
			name: "connection refused", fault: outlinetest.Fault{Stage: outlinetest.RefuseTCP},
			stage: carrier.StageConnect, is: syscall.ECONNREFUSED, text: []string{"connection refused"},
		},
		{
			// The reset comes after the connect, or so soon that the connect fails.
			name: "reset at once", fault: outlinetest.Fault{Stage: outlinetest.ResetTCP},
			is: syscall.ECONNRESET, text: []string{"connection reset"},
		},
		{
			name: "stalled before TLS", fault: outlinetest.Fault{Stage: outlinetest.StallTLS},
			stage: carrier.StageTLS, is: context.DeadlineExceeded, bound: true,
		},
		{
			name: "stalled before HTTP", fault: outlinetest.Fault{Stage: outlinetest.StallHTTP},
			stage: carrier.StageHandshake, is: context.DeadlineExceeded, bound: true,
		},
		{
			name: "stalled without TLS", config: outlinetest.Config{Plain: true},
			fault: outlinetest.Fault{Stage: outlinetest.StallHTTP},
			stage: carrier.StageHandshake, is: context.DeadlineExceeded, bound: true,
		},
		{
			name: "expired certificate", config: outlinetest.Config{Cert: outlinetest.Cert{Expired: true}},
			stage: carrier.StageTLS, text: []string{"expired", "is this machine's clock right?"},
		},
		{
			name:   "another name",
			config: outlinetest.Config{Cert: outlinetest.Cert{Names: []string{"other.test"}, Only: true}},
			stage:  carrier.StageTLS, text: []string{"127.0.0.1"},
		},
		{
			name: "unknown authority", edits: []edit{trust(x509.NewCertPool())},
			stage: carrier.StageTLS, text: []string{"unknown authority", "tls.ca_file"},
		},
		{
			name: "path not found", fault: outlinetest.Fault{Status: 404},
			stage: carrier.StageHandshake, text: []string{"404 Not Found", "is the path in the URL right?"},
		},
		{
			name: "backend away", fault: outlinetest.Fault{Status: 502},
			stage: carrier.StageHandshake, text: []string{"502 Bad Gateway"},
		},
	}
}

// h1Dialer replaces how the server is reached.
func h1Dialer(d *h1.Dialer) edit {
	return eachEndpoint(func(e *carrier.Endpoint) {
		e.Dialers = map[carrier.Mode]carrier.Dialer{carrier.H1: d}
	})
}

func resolveBy(servers []netip.AddrPort) edit {
	return h1Dialer(&h1.Dialer{
		Net: dialer.New(dialer.Options{Servers: servers}),
		TLS: carrier.TLSOptions{}.Config("http/1.1"),
	})
}

func trust(pool *x509.CertPool) edit {
	return h1Dialer(&h1.Dialer{
		Net: dialer.New(dialer.Options{}),
		TLS: carrier.TLSOptions{RootCAs: pool}.Config("http/1.1"),
	})
}

// opening is one of the two things that an upstream opens.
var openings = map[string]func(ctx context.Context, u *upstream.Upstream) error{
	"stream": func(ctx context.Context, u *upstream.Upstream) error {
		_, err := u.DialStream(ctx, "127.0.0.1:1")
		return err
	},
	"packet": func(ctx context.Context, u *upstream.Upstream) error {
		_, err := u.ListenPacket(ctx)
		return err
	},
}

// Every failure says which upstream failed at which stage, in bounded time, and nothing that is secret.
func TestOpeningFails(t *testing.T) {
	for _, row := range failures(t) {
		for what, opening := range openings {
			t.Run(row.name+" "+what, func(t *testing.T) {
				t.Parallel() // half of them wait for their limit
				row := row
				s := startServer(t, row.config)
				if err := s.SetFault(row.fault); err != nil {
					t.Fatal(err)
				}
				limit := patience
				if row.bound {
					limit = short
					row.text = append(row.text, "nothing within "+short.String())
				}
				u := open(t, s, append(row.edits, dialTimeout(limit))...)
				start := time.Now()
				err := opening(t.Context(), u)
				took := time.Since(start)
				row.wantError(t, s, err)
				if took > patience/4 || row.bound && took < short {
					t.Errorf("failed after %v, want it soon, and not before a limit of %v", took, limit)
				}
			})
		}
	}
}

func (f *failure) wantError(t *testing.T, s *outlinetest.Server, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("opening succeeded, want an error")
	}
	e, ok := errors.AsType[*carrier.Error](err)
	if !ok || f.stage != "" && e.Stage != f.stage || e.Mode != carrier.H1 {
		t.Errorf("error = %v, want one of h1 at stage %s", err, f.stage)
	}
	if f.is != nil && !errors.Is(err, f.is) {
		t.Errorf("error = %v, want one that is %v", err, f.is)
	}
	for _, want := range append(f.text, "upstream "+upName+": h1 "+string(f.stage)) {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q in it", err, want)
		}
	}
	if strings.ContainsAny(err.Error(), "\n") {
		t.Errorf("error has several lines: %q", err)
	}
	wantNoSecrets(t, s, err)
}

func TestOpeningIsCancelled(t *testing.T) {
	errLeft := errors.New("the client left")
	s := startServer(t, outlinetest.Config{})
	for _, stage := range []outlinetest.Stage{outlinetest.StallTLS, outlinetest.StallHTTP} {
		if err := s.SetFault(outlinetest.Fault{Stage: stage}); err != nil {
			t.Fatal(err)
		}
		for what, opening := range openings {
			accepted := s.Stats().Accepted
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				_ = s.Wait(ctx, func(stats outlinetest.Stats) bool { return stats.Accepted > accepted })
				cancel(errLeft)
			}()
			// As long as the connect is under way, it is the context's error and not the cause.
			err := opening(ctx, open(t, s))
			if !errors.Is(err, errLeft) && !errors.Is(err, context.Canceled) {
				t.Errorf("stage %d, %s: error = %v, want %v", stage, what, err, errLeft)
			}
		}
	}
}

// A failed opening leaves no connection behind.
func TestOpeningFailsWithoutALeak(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, outlinetest.Config{})
	if err := s.SetFault(outlinetest.Fault{Stage: outlinetest.StallHTTP}); err != nil {
		t.Fatal(err)
	}
	for _, opening := range openings {
		if err := opening(t.Context(), open(t, s, dialTimeout(short))); err == nil {
			t.Error("opening succeeded, want an error")
		}
	}
	if err := s.SetFault(outlinetest.Fault{}); err != nil {
		t.Fatal(err)
	}
	s.CutAll() // what stalls there does not read, and so does not notice
	if err := s.Wait(t.Context(), func(stats outlinetest.Stats) bool { return stats.Open == 0 }); err != nil {
		t.Error(err)
	}
}

func TestNotCarried(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	none := open(t, s, func(c *upstream.Config) { c.Stream, c.Packet = nil, nil })
	if none.CarriesStreams() || none.CarriesPackets() {
		t.Errorf("CarriesStreams, CarriesPackets = %t, %t, want false, false",
			none.CarriesStreams(), none.CarriesPackets())
	}
	for what, opening := range openings {
		err := opening(t.Context(), none)
		if !errors.Is(err, upstream.ErrNotCarried) || !strings.Contains(err.Error(), upName) {
			t.Errorf("%s of an upstream without URLs = %v, want %v with its name",
				what, err, upstream.ErrNotCarried)
		}
	}
	both := open(t, s)
	if !both.CarriesStreams() || !both.CarriesPackets() || both.Name() != upName {
		t.Errorf("CarriesStreams, CarriesPackets, Name = %t, %t, %q, want true, true, %q",
			both.CarriesStreams(), both.CarriesPackets(), both.Name(), upName)
	}
}

// Without a limit of its own, opening is bound by ctx alone.
func TestOpeningWithoutALimit(t *testing.T) {
	t.Parallel() // it mostly waits
	s := startServer(t, outlinetest.Config{})
	if err := s.SetFault(outlinetest.Fault{Stage: outlinetest.StallTLS}); err != nil {
		t.Fatal(err)
	}
	for what, opening := range openings {
		ctx, cancel := context.WithTimeout(t.Context(), short)
		if err := opening(ctx, open(t, s, dialTimeout(0))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s = %v, want %v", what, err, context.DeadlineExceeded)
		}
		cancel()
	}
}

// The errors of a stream that was opened are the user's to read as well.
func TestStreamErrorsHaveNoSecrets(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	rows := map[string]outlinetest.Fault{
		"cut":   {End: outlinetest.EndCut, After: 100},
		"reset": {End: outlinetest.EndReset, After: 100},
		"code":  {End: outlinetest.EndCode, Code: 1011, After: 100},
		"mask":  {Framing: outlinetest.Masked},
		"text":  {Framing: outlinetest.Text},
	}
	sink, err := outlinetest.StartSink("", 1<<20)
	sink = target(t, sink, err)
	for name, fault := range rows {
		if err := s.SetFault(fault); err != nil {
			t.Fatal(err)
		}
		conn := dialTo(t, open(t, s), sink.Addr())
		if err := upload(conn, 10); err != nil {
			t.Fatal(err)
		}
		var buf [64 << 10]byte
		for err == nil {
			_, err = conn.Read(buf[:])
		}
		t.Logf("%s: %v", name, err)
		wantNoSecrets(t, s, err)
		err = nil
	}
}

// The address of a target that cannot be one is the client's mistake.
func TestDialBadAddress(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	u := open(t, s)
	for _, addr := range []string{"", "host", "host:", "host:99999", ":80", "two words:80", "[::1:80"} {
		if conn, err := u.DialStream(t.Context(), addr); err == nil {
			_ = conn.Close()
			t.Errorf("DialStream(%q) = nil, want an error", addr)
		}
	}
	if n := s.Stats().Accepted; n != 0 {
		t.Errorf("server accepted %d connections, want 0", n)
	}
}
