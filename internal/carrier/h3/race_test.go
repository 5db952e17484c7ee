package h3

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
)

func addrs(text string) []netip.Addr {
	var list []netip.Addr
	for _, f := range strings.Fields(text) {
		list = append(list, netip.MustParseAddr(f))
	}
	return list
}

func TestInTurns(t *testing.T) {
	tests := []struct{ name, found, good, want string }{
		{"none", "", "", ""},
		{"one family", "1.1.1.1 2.2.2.2", "", "1.1.1.1 2.2.2.2"},
		{"both families", "::1 ::2 1.1.1.1 2.2.2.2", "", "::1 1.1.1.1 ::2 2.2.2.2"},
		{"more of one", "::1 1.1.1.1 2.2.2.2 3.3.3.3", "", "::1 1.1.1.1 2.2.2.2 3.3.3.3"},
		{"the other family worked", "::1 ::2 1.1.1.1 2.2.2.2", "2.2.2.2", "2.2.2.2 ::1 1.1.1.1 ::2"},
		{"what worked is gone", "::1 1.1.1.1", "9.9.9.9", "1.1.1.1 ::1"},
		{"its family is gone", "::1 ::2", "9.9.9.9", "::1 ::2"},
	}
	for _, tt := range tests {
		var good netip.Addr
		if tt.good != "" {
			good = netip.MustParseAddr(tt.good)
		}
		if got := inTurns(addrs(tt.found), good); !slices.Equal(got, addrs(tt.want)) {
			t.Errorf("%s: inTurns(%s, %s) = %v, want %s", tt.name, tt.found, tt.good, got, tt.want)
		}
	}
}

// attempt is how a scripted server behaves.
type attempt struct {
	after time.Duration // until the answer; 0 never answers
	err   error
}

var errRefused = errors.New("refused")

func TestRace(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name     string
		attempts []attempt
		winner   int // -1: none
		took     time.Duration
	}{
		{"one", []attempt{{after: 1000 * ms}}, 0, 1000 * ms},
		{"the first is fast", []attempt{{after: 100 * ms}, {after: ms}}, 0, 100 * ms},
		{"the first is a black hole", []attempt{{}, {after: ms}}, 1, attemptDelay + ms},
		{"two black holes", []attempt{{}, {}, {after: ms}}, 2, 2*attemptDelay + ms},
		{"the first fails at once", []attempt{{ms, errRefused}, {after: ms}}, 1, 2 * ms},
		{"the first comes after all", []attempt{{after: 300 * ms}, {after: 1000 * ms}}, 0, 300 * ms},
		{"all fail", []attempt{{ms, errRefused}, {1000 * ms, errRefused}}, -1, 1001 * ms},
		{"cancelled", []attempt{{}, {}}, -1, 5000 * ms},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				r := race{dial: script(tt.attempts)}
				for i := range tt.attempts {
					r.addrs = append(r.addrs, netip.AddrPortFrom(loopback4, uint16(i)))
				}
				began := time.Now()
				l, err := r.run(ctx)
				if took := time.Since(began); took != tt.took {
					t.Errorf("race took %v, want %v", took, tt.took)
				}
				if tt.winner < 0 {
					wantStage(t, err, carrier.StageConnect)
					return
				}
				if err != nil || int(l.addr.Port()) != tt.winner {
					t.Errorf("race = %v, %v, want attempt %d", l, err, tt.winner)
				}
			})
		})
	}
}

// script is a dial to servers by their port.
func script(attempts []attempt) func(context.Context, netip.AddrPort) (*link, error) {
	return func(ctx context.Context, addr netip.AddrPort) (*link, error) {
		a := attempts[addr.Port()]
		var answer <-chan time.Time
		if a.after > 0 {
			answer = time.After(a.after)
		}
		select {
		case <-answer:
			return &link{addr: addr}, a.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Somebody who answers with a wrong certificate says more than a network that says nothing.
func TestRaceReportsTLS(t *testing.T) {
	r := race{
		addrs: []netip.AddrPort{netip.AddrPortFrom(loopback4, 0), netip.AddrPortFrom(loopback4, 1)},
		dial: script([]attempt{
			{time.Millisecond, ErrNoAnswer}, {time.Millisecond, &tlsError{ErrNoH3}},
		}),
	}
	_, err := r.run(t.Context())
	wantStage(t, err, carrier.StageTLS)
	if !errors.Is(err, ErrNoH3) {
		t.Errorf("race = %v, want %v", err, ErrNoH3)
	}
}

// What connects when the race is over is closed.
func TestLateWinnerIsClosed(t *testing.T) {
	n := new(network)
	late, err := listen(t.Context(), n, loopback4, nil)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan struct{})
	r := race{
		addrs: []netip.AddrPort{netip.AddrPortFrom(loopback4, 0), netip.AddrPortFrom(loopback4, 1)},
		dial: func(ctx context.Context, addr netip.AddrPort) (*link, error) {
			if addr.Port() == 1 {
				close(second)
				return &link{addr: addr}, nil
			}
			<-second
			<-ctx.Done()
			return &link{addr: addr, socket: late, transport: &quic.Transport{Conn: late}}, nil
		},
	}
	l, err := r.run(t.Context())
	if err != nil || l.addr.Port() != 1 {
		t.Fatalf("race = %v, %v, want the second attempt", l, err)
	}
	if err := late.SetReadDeadline(time.Now()); err == nil {
		t.Error("the socket of the late winner is open")
	}
}
