//go:build interop

package interop

import (
	"testing"
	"time"
)

// readyLife is longer than a connection that nobody uses is kept ready.
const readyLife = 27 * time.Second

// TestStandbyThroughFronts keeps connections ready through every front, on every carrier, for longer than one
// of them lives, and then sends flows over them.
func TestStandbyThroughFronts(t *testing.T) {
	host := Loopback[0]
	overHTTP1 := frontCase{"caddy", programs.StartCaddy, []carriage{{"", "1.1"}}, nil}
	for _, front := range append(fronts(), overHTTP1) {
		for _, carriage := range front.only {
			t.Run(front.name+"/"+carriage.flags, func(t *testing.T) {
				t.Parallel()
				server := StartWholeServer(t, host, Ciphers[0], front.start)
				server.Query = carriage.flags
				client := programs.StartReadyClient(t, host, server)
				opened := func() int { return len(server.Bridge.Requests()) }
				waitFor(t, "two ready for TCP and two for UDP", func() bool { return opened() == 4 })
				time.Sleep(readyLife)
				if n := opened(); n < 8 {
					t.Errorf("%d connections opened after %v, want the first four replaced", n, readyLife)
				}
				testTransfers(t, host, client)
				testDig(t, host, client)
				testClientEndsFirst(t, host, client)
				testTargetEndsFirst(t, host, client)
				wantNoSecret(t, client, server)
			})
		}
	}
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(startTimeout); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("not within %v: %s", startTimeout, what)
		}
	}
}
