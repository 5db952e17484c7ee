package health_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier/h1"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
	"github.com/outline-cli-ws/outline-cli-ws/internal/shadowsocks"
	"github.com/outline-cli-ws/outline-cli-ws/internal/upstream"
)

// patience is what probes that should pass may take. None that works takes so long.
const patience = 20 * time.Second

// patient are limits that show only when they should not.
var patient = health.Timeouts{Dial: patience, Exchange: patience}

func startServer(t *testing.T, c outlinetest.Config) *outlinetest.Server {
	t.Helper()
	s, err := outlinetest.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// open makes an upstream of s, over HTTP/1.1.
func open(t *testing.T, s *outlinetest.Server) *upstream.Upstream {
	t.Helper()
	cipher, err := shadowsocks.ParseCipher(s.Cipher())
	if err != nil {
		t.Fatal(err)
	}
	key, err := shadowsocks.NewKey(cipher, s.Secret())
	if err != nil {
		t.Fatal(err)
	}
	options := carrier.TLSOptions{RootCAs: s.CertPool(), Sessions: carrier.NewSessions()}
	endpoint := func(raw string) *carrier.Endpoint {
		target, err := carrier.ParseTarget(raw)
		if err != nil {
			t.Fatal(err)
		}
		return &carrier.Endpoint{Target: target, Dialers: map[carrier.Mode]carrier.Dialer{
			carrier.H1: &h1.Dialer{Net: dialer.New(dialer.Options{}), TLS: options.Config("http/1.1")},
		}}
	}
	return upstream.New(upstream.Config{
		Name: "upstream-7", Key: key, Stream: endpoint(s.StreamURL()), Packet: endpoint(s.PacketURL()),
	})
}

// loopbacks are the addresses to listen on, with IPv6 where this machine has it.
func loopbacks(t *testing.T) []string {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Logf("IPv6 is left out: %v", err)
		return []string{"127.0.0.1:0"}
	}
	_ = l.Close()
	return []string{"127.0.0.1:0", "[::1]:0"}
}

type startFunc func(addr string) (*outlinetest.Target, error)

// targets starts a web server and a name server.
func targets(t *testing.T, addr string) place {
	t.Helper()
	var addrs []string
	for _, start := range []startFunc{outlinetest.StartHTTP, outlinetest.StartDNS} {
		target, err := start(addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = target.Close() })
		addrs = append(addrs, target.Addr())
	}
	return place{addrs[0], addrs[1]}
}

// place is where probes of a server lead to.
type place struct{ web, dns string }

// probes are those of a server over both protocols.
func probes(t *testing.T, s *outlinetest.Server, p place, limits health.Timeouts) map[string]health.Probe {
	t.Helper()
	u := open(t, s)
	udp, err := health.UDPProbe(u, []string{p.dns}, question, limits)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]health.Probe{"tcp": health.TCPProbe(u, []string{p.web}, limits), "udp": udp}
}

func TestProbesReachTargets(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	for _, addr := range loopbacks(t) {
		for proto, probe := range probes(t, s, targets(t, addr), patient) {
			if rtt, err := probe(t.Context()); err != nil || rtt <= 0 || rtt > patience {
				t.Errorf("%s probe of targets on %s = %v, %v, want an RTT, nil", proto, addr, rtt, err)
			}
		}
	}
}

func TestProbesReachNames(t *testing.T) {
	at := targets(t, "127.0.0.1:0")
	s := startServer(t, outlinetest.Config{Hosts: map[string]string{
		"web.test:80": at.web, "dns.test:53": at.dns,
	}})
	for proto, probe := range probes(t, s, place{"web.test:80", "dns.test:53"}, patient) {
		if _, err := probe(t.Context()); err != nil {
			t.Errorf("%s probe of a name = %v, want nil", proto, err)
		}
	}
}

// Each stage has a deadline of its own: the long one of the other must not show.
func TestProbesOfFaultyServers(t *testing.T) {
	const short = 150 * ms
	slowDial := health.Timeouts{Dial: short, Exchange: patience}
	slowExchange := health.Timeouts{Dial: patience, Exchange: short}
	late := context.DeadlineExceeded
	for _, tt := range []struct {
		name   string
		fault  outlinetest.Stage
		limits health.Timeouts
		stage  health.Stage
		err    error
	}{
		{"port closed", outlinetest.RefuseTCP, patient, health.Transport, syscall.ECONNREFUSED},
		{"TLS stalls", outlinetest.StallTLS, slowDial, health.Transport, late},
		{"HTTP stalls", outlinetest.StallHTTP, slowDial, health.Transport, late},
		{"stalls once open", outlinetest.StallOpened, slowExchange, health.Quality, late},
		{"wrong secret", outlinetest.WrongSecret, slowExchange, health.Quality, late},
		{"swallows everything", outlinetest.Blackhole, slowExchange, health.Quality, late},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := targets(t, "127.0.0.1:0")
			s := startServer(t, outlinetest.Config{})
			setStage(t, s, tt.fault)
			for proto, probe := range probes(t, s, at, tt.limits) {
				if proto == "udp" && tt.fault == outlinetest.WrongSecret {
					continue // it ends the association, see TestUDPProbeOfAWrongSecret
				}
				began := time.Now()
				_, err := probe(t.Context())
				wantStage(t, err, tt.stage, tt.err)
				if took := time.Since(began); took > patience/2 {
					t.Errorf("%s probe took %v, want about %v", proto, took, short)
				}
			}
			setStage(t, s, outlinetest.NoStage)
			for proto, probe := range probes(t, s, at, patient) {
				if _, err := probe(t.Context()); err != nil {
					t.Errorf("%s probe after the fault = %v, want nil", proto, err)
				}
			}
		})
	}
}

// setStage makes a server get stuck at a stage, or not any more.
func setStage(t *testing.T, s *outlinetest.Server, stage outlinetest.Stage) {
	t.Helper()
	if err := s.SetFault(outlinetest.Fault{Stage: stage}); err != nil {
		t.Fatal(err)
	}
}

func TestUDPProbeOfAWrongSecret(t *testing.T) {
	s := startServer(t, outlinetest.Config{})
	setStage(t, s, outlinetest.WrongSecret)
	_, err := probes(t, s, targets(t, "127.0.0.1:0"), patient)["udp"](t.Context())
	wantStage(t, err, health.Quality, io.EOF)
}

// A target that refuses makes the server hang up without an answer.
func TestProbesOfDeadTargets(t *testing.T) {
	const dead, live = "dead.test:80", "live.test:80"
	s := startServer(t, outlinetest.Config{Hosts: map[string]string{
		dead: closedPort(t), live: targets(t, "127.0.0.1:0").web,
	}})
	u := open(t, s)
	_, err := health.TCPProbe(u, []string{dead}, patient)(t.Context())
	wantStage(t, err, health.Quality, nil)
	if _, ok := errors.AsType[*shadowsocks.NoAnswerError](err); !ok {
		t.Errorf("probe of a dead target = %v, want a *shadowsocks.NoAnswerError", err)
	}
	if _, err := health.TCPProbe(u, []string{dead, live}, patient)(t.Context()); err != nil {
		t.Errorf("probe of a dead target and one that lives = %v, want nil", err)
	}
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A server dies in three ways and comes back each time; another one that is well notices nothing of it.
func TestProberFollowsServers(t *testing.T) {
	at := targets(t, "127.0.0.1:0")
	sick, well := startServer(t, outlinetest.Config{}), startServer(t, outlinetest.Config{})
	states := make(chan health.State)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := &health.Prober{
		Schedule: health.Schedule{Interval: 5 * ms, MinInterval: ms, MaxInterval: 5 * ms},
		OnResult: func(i int, r health.Result) {
			if i > 0 {
				if r.After.State != health.Up {
					t.Errorf("the server that is well is %v: %v", r.After.State, r.Err)
				}
				return
			}
			select {
			case states <- r.After.State:
			case <-ctx.Done():
			}
		},
	}
	add := func(s *outlinetest.Server, limits health.Timeouts) {
		p.Paths = append(p.Paths, health.Path{
			Proto: "tcp", Record: health.NewRecord(policy), Probe: probes(t, s, at, limits)["tcp"],
		})
	}
	add(sick, health.Timeouts{Dial: 200 * ms, Exchange: 200 * ms})
	add(well, patient)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for _, stage := range []outlinetest.Stage{
		outlinetest.NoStage, outlinetest.RefuseTCP, outlinetest.StallTLS, outlinetest.Blackhole,
	} {
		setStage(t, sick, stage)
		if stage != outlinetest.NoStage {
			waitState(ctx, t, states, health.Down)
			setStage(t, sick, outlinetest.NoStage)
		}
		waitState(ctx, t, states, health.Up)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// waitState waits until a path has a state.
func waitState(ctx context.Context, t *testing.T, states <-chan health.State, want health.State) {
	t.Helper()
	for {
		select {
		case got := <-states:
			if got == want {
				return
			}
		case <-ctx.Done():
			t.Errorf("not %v after %v", want, patience)
			return
		}
	}
}
