//go:build e2e && linux

package e2e

import (
	"net"
	"testing"
)

// What is allowed on the uplink besides the neighbourhood.
const (
	upstream4 = "tcp " + server4 + ":" + serverPort
	upstream6 = "tcp [" + server6 + "]:" + serverPort
	lanTCP    = "tcp " + lan + ":" + whoPort
	lanUDP    = "udp " + lan + ":" + whoPort
	inboundT  = "tcp service 2222"
	inboundU  = "udp service 2222"

	servicePort = 2222 // of a service of the machine's, as ssh is
	serviceText = "2222"
)

// serve opens that service. Its sockets for datagrams have an address: what one without answers to hosts that
// are not neighbours is, to the kernel, what a program sends by itself.
func serve(t *testing.T) {
	t.Helper()
	for _, host := range []string{hostLAN, host6} {
		if err := answerWho(net.JoinHostPort(host, serviceText)); err != nil {
			t.Fatal(err)
		}
	}
}

// withNeighbours are those and what reachable makes.
func withNeighbours(allowed ...string) []string {
	return append(allowed, lanTCP, lanUDP, inboundT, inboundU)
}

// reachable asks the neighbour, and has the neighbour and a host of the internet ask the machine.
func (o *outside) reachable(t *testing.T) {
	t.Helper()
	both(t, lan+":"+whoPort, direct)
	for _, from := range []string{lan, "203.0.113.20", lan6, web6} {
		to := hostLAN
		if net.ParseIP(from).To4() == nil {
			to = host6
		}
		for _, proto := range []string{"tcp", "udp"} {
			at := net.JoinHostPort(to, serviceText)
			r := o.must(t, order{Do: "ask", Proto: proto, Target: at, From: from})
			if r.Answer != tunnel { // seen from an address that is not the machine's
				t.Errorf("%s asks the machine's service over %s: answered %s", from, proto, r.Answer)
			}
		}
	}
}
