package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
)

// newState is the state of two upstreams, of which one carries TCP alone.
func newState(path string) *state {
	s := &state{path: path, log: slog.New(slog.DiscardHandler), kept: make(map[string]remembered)}
	record := func() *health.Record { return health.NewRecord(health.Policy{MaxInterval: time.Minute}) }
	s.kept["both"] = remembered{server: "wss://a", tcp: record(), udp: record(), memory: new(carrier.Memory)}
	s.kept["tcp"] = remembered{server: "wss://b", tcp: record(), memory: new(carrier.Memory)}
	return s
}

func TestStateOutlivesTheProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	now := time.Now()
	before := newState(path)
	if err := before.load(now); err != nil {
		t.Fatalf("load without a file: %v", err)
	}
	before.kept["both"].tcp.Success(now, 42*time.Millisecond)
	before.kept["tcp"].tcp.Success(now, 43*time.Millisecond)
	if err := before.save(now); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file = %v, %v, want it for its owner alone", info.Mode(), err)
	}

	after := newState(path)
	moved := after.kept["tcp"]
	moved.server = "wss://elsewhere"
	after.kept["tcp"] = moved
	if err := after.load(now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Second)
	if got := after.kept["both"].tcp.Status(later).RTT; got != 42*time.Millisecond {
		t.Errorf("RTT after a restart = %v, want 42ms", got)
	}
	if got := after.kept["both"].udp.Status(later).RTT; got != 0 {
		t.Errorf("RTT of UDP = %v, want none", got)
	}
	if got := after.kept["tcp"].tcp.Status(later).RTT; got != 0 {
		t.Errorf("RTT of another server = %v, want none", got)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

// A file of somebody else is neither believed nor overwritten; a damaged one of ours stops nothing.
func TestStateFilesThatAreNone(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"a certificate": {"-----BEGIN CERTIFICATE-----\n", errNoState},
		"other JSON":    {`{"format": "something else"}`, errNoState},
		"empty":         {"", nil},
		"cut short":     {`{"format": "` + stateFormat + `", "upstr`, nil},
		"nonsense":      {`{"format": "` + stateFormat + `", "upstreams": 7}`, nil},
		"odd values": {`{"format": "` + stateFormat + `", "upstreams": {"both": {"server": "wss://a",
			"tcp": {"state": 99, "rtt": -5, "penalty": -1}}}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newState(path)
			if err := s.load(time.Now()); !errors.Is(err, tt.want) {
				t.Errorf("load = %v, want %v", err, tt.want)
			}
			if got := s.kept["both"].tcp.Status(time.Now()).Score(1); got <= 0 {
				t.Errorf("score = %v", got)
			}
		})
	}
	if err := newState(t.TempDir()).load(time.Now()); !errors.Is(err, errNoState) {
		t.Errorf("load of a folder = %v", err)
	}
}

func TestStateIsSavedNowAndThen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	synctest.Test(t, func(t *testing.T) {
		s := newState(path)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.run(ctx) }()
		time.Sleep(saveEvery - 1)
		if _, err := os.Stat(path); err == nil {
			t.Error("saved too early")
		}
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		if err := os.Remove(path); err != nil {
			t.Errorf("not saved after %v: %v", saveEvery, err)
		}
		cancel()
		<-done
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), stateFormat) {
			t.Errorf("not saved at the end: %v", err)
		}
	})
	newState("").run(t.Context()) // returns at once
}
