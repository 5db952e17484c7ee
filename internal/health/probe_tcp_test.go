package health_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport/transporttest"
)

func TestTCPProbe(t *testing.T) {
	const target = "web.test:80"
	for _, tt := range []struct {
		name   string
		net    *fakeNet
		rtt    time.Duration
		took   time.Duration // virtual, so exact
		stage  health.Stage
		err    error  // what the error is
		detail string // and what it says
	}{
		{
			name: "passes, and the time to open the path is not in the RTT",
			net: &fakeNet{
				dialTime: time.Second, servers: servers(target, answering(70*ms, "HTTP/1.1 404 No\r\n")),
			},
			rtt: 70 * ms, took: 1070 * ms,
		},
		{
			name: "an answer in pieces counts from the first",
			net:  &fakeNet{servers: servers(target, answering(50*ms, "H", "TT", "P/1.0 200\r\n\r\n"))},
			rtt:  50 * ms, took: 150 * ms,
		},
		{
			name: "not HTTP", net: &fakeNet{servers: servers(target, answering(50*ms, "SSH-2.0-x\r\n"))},
			took: 50 * ms, stage: health.Quality, detail: `"SSH-2"... is not HTTP`,
		},
		{
			name: "an answer that ends early",
			net:  &fakeNet{servers: servers(target, answering(50*ms, "HTT"))},
			took: 50 * ms, stage: health.Quality, err: io.ErrUnexpectedEOF, detail: `"HTT"`,
		},
		{
			name: "no answer", net: &fakeNet{servers: servers(target, answering(0))},
			stage: health.Quality, err: io.EOF,
		},
		{
			name: "silence", net: &fakeNet{dialTime: time.Second},
			took: 3 * time.Second, stage: health.Quality, err: late, detail: "nothing within 2s",
		},
		{
			name: "silence after the first byte",
			net:  &fakeNet{servers: servers(target, answering(1500*ms, "H", "TTP/"))},
			took: 2 * time.Second, stage: health.Quality, err: late,
		},
		{
			name: "a path that does not open", net: &fakeNet{dialTime: time.Hour},
			took: 3 * time.Second, stage: health.Transport, err: late, detail: "nothing within 3s",
		},
		{
			name: "a path that is refused", net: &fakeNet{dialErr: syscall.ECONNREFUSED},
			stage: health.Transport, err: syscall.ECONNREFUSED,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				rtt, err := health.TCPProbe(tt.net, []string{target}, limits)(t.Context())
				took := time.Since(began)
				tt.net.wait(t)
				if took != tt.took || rtt != tt.rtt {
					t.Errorf("probe took %v, RTT %v, want %v, %v", took, rtt, tt.took, tt.rtt)
				}
				switch {
				case tt.err != nil:
					wantStage(t, err, tt.stage, tt.err)
				case tt.detail == "" && err != nil:
					t.Errorf("probe = %v, want nil", err)
				}
				if err != nil && !strings.Contains(err.Error(), tt.detail) {
					t.Errorf("probe = %v, want %q in it", err, tt.detail)
				}
			})
		})
	}
}

func servers(target string, serve func(*transporttest.PipeConn)) map[string]func(*transporttest.PipeConn) {
	return map[string]func(*transporttest.PipeConn){target: serve}
}

func TestTCPProbeRequest(t *testing.T) {
	for target, host := range map[string]string{
		"web.test:80": "web.test", "web.test:8080": "web.test:8080", "192.0.2.1:80": "192.0.2.1",
		"[2001:db8::1]:80": "[2001:db8::1]", "[2001:db8::1]:81": "[2001:db8::1]:81",
	} {
		synctest.Test(t, func(t *testing.T) {
			var got *http.Request
			n := &fakeNet{servers: servers(target, func(c *transporttest.PipeConn) {
				defer c.Close()
				r := bufio.NewReader(c)
				got, _ = http.ReadRequest(r)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			})}
			if _, err := health.TCPProbe(n, []string{target}, limits)(t.Context()); err != nil {
				t.Fatal(err)
			}
			n.wait(t)
			if got.Method != http.MethodHead || got.URL.Path != "/" || got.Host != host || !got.Close {
				t.Errorf("request to %s = %s %s, Host %s, close %v, want HEAD /, %s, true",
					target, got.Method, got.URL, got.Host, got.Close, host)
			}
		})
	}
}

func TestTCPProbeTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := answering(10*ms, "HTTP/1.1 200 OK\r\n")
		n := &fakeNet{servers: map[string]func(*transporttest.PipeConn){"a:80": ok, "b:80": ok, "c:80": ok}}
		probe := health.TCPProbe(n, []string{"a:80", "b:80", "c:80"}, limits)
		for range 4 {
			if _, err := probe(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"a:80", "b:80", "c:80", "a:80"}; !slices.Equal(n.dialled, want) {
			t.Errorf("targets asked = %v, want them in turn: %v", n.dialled, want)
		}

		n.servers["b:80"] = nil // it is b's turn
		if rtt, err := probe(t.Context()); err != nil || rtt != 10*ms {
			t.Errorf("probe with one of three targets silent = %v, %v, want 10ms, nil", rtt, err)
		}
		n.servers["a:80"], n.servers["c:80"] = nil, nil
		began := time.Now()
		_, err := probe(t.Context())
		if took := time.Since(began); took != 2*limits.Exchange {
			t.Errorf("probe of two silent targets took %v, want %v", took, 2*limits.Exchange)
		}
		wantStage(t, err, health.Quality, late)
		if text := fmt.Sprint(err); !strings.Contains(text, "a:80") || !strings.Contains(text, "c:80") {
			t.Errorf("probe = %q, want both targets named", text)
		}
		n.wait(t)
	})
}

// A path that breaks between two targets is no target's fault, and a probe that is out of time no path's.
func TestTCPProbeSecondDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{}
		n.servers = servers("a:80", func(c *transporttest.PipeConn) {
			n.dialErr = syscall.ECONNREFUSED
			c.Close()
		})
		_, err := health.TCPProbe(n, []string{"a:80", "b:80"}, limits)(t.Context())
		wantStage(t, err, health.Transport, syscall.ECONNREFUSED)
		n.wait(t)

		n = &fakeNet{dialTime: time.Second}
		// In the first exchange, in the second dial.
		for _, whole := range []time.Duration{2500 * ms, 3500 * ms} {
			ctx, cancel := context.WithTimeout(t.Context(), whole)
			began := time.Now()
			_, err = health.TCPProbe(n, []string{"a:80", "b:80"}, limits)(ctx)
			cancel()
			wantStage(t, err, health.Quality, late)
			if took := time.Since(began); took != whole {
				t.Errorf("probe took %v, want %v", took, whole)
			}
		}
		n.wait(t)
	})
}

func TestProbeIsCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &fakeNet{}
		udp, err := health.UDPProbe(n, []string{"192.0.2.1:53"}, question, health.Timeouts{})
		if err != nil {
			t.Fatal(err)
		}
		for _, probe := range []health.Probe{health.TCPProbe(n, []string{"a:80"}, health.Timeouts{}), udp} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Minute, cancel)
			began := time.Now()
			_, err := probe(ctx)
			wantStage(t, err, health.Quality, context.Canceled)
			if took := time.Since(began); took != time.Minute {
				t.Errorf("probe without limits took %v, want until it was called off, 1m", took)
			}
		}
		n.wait(t)
	})
}
