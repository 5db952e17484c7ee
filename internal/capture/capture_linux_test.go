package capture

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEverythingIsCaptured(t *testing.T) {
	if !inLab(t) {
		return
	}
	far := newUplink(t)
	before := snapshot(t)
	d := newDevice(t)
	both(t, farWeb+":"+port, byFar)
	c := mustApply(t, options())

	for _, target := range []string{farWeb + ":" + port, "[" + farWeb6 + "]:" + port} {
		both(t, target, byTUN)
	}
	// DNS, wherever its server is.
	for _, target := range []string{farWeb + ":53", "[" + farWeb6 + "]:53", farLAN + ":53"} {
		both(t, target, byTUN)
	}
	both(t, farLAN+":"+port, byFar)

	// Our own sockets, under a strict check of reverse paths.
	for _, target := range []string{farWeb + ":" + port, farWeb + ":53", "[" + farWeb6 + "]:" + port} {
		for _, proto := range []string{"tcp", "udp"} {
			probe{proto: proto, target: target, mark: DefaultMark}.want(t, byFar)
		}
	}
	inbound(t, far)

	if d.packets.Load() == 0 {
		t.Error("no packet came to the device")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	both(t, farWeb+":"+port, byFar)
	d.close()
	sameAs(t, before)
}

// inbound asks services of the host's from outside, DNS among them.
func inbound(t *testing.T, far *peer) {
	t.Helper()
	for _, p := range []string{"2222", "53"} {
		for _, proto := range []string{"tcp", "udp"} {
			for _, target := range []string{hostLAN, hostPublic} {
				where := net.JoinHostPort(target, p)
				if err := answerOn(proto, where); err != nil && !errors.Is(err, unix.EADDRINUSE) {
					t.Fatal(err)
				}
				for _, from := range sources(target) {
					if got := far.do(t, "ask", proto, where, from); got != byFar {
						t.Errorf("%s asked %s %s: %q, want an answer", from, proto, where, got)
					}
				}
			}
		}
	}
}

// sources are the far end's addresses of the family of an address: a neighbour's, and one of the internet.
func sources(target string) []string {
	if addr(target).Is4() {
		return []string{farLAN, farWeb}
	}
	return []string{lanNet6, farWeb6}
}
