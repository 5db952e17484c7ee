//go:build e2e && linux

package e2e

import (
	"net"
	"strings"
	"testing"
	"time"
)

const servicePort = 2222 // of a service of the machine's, as ssh is

// The single line of the documentation, and the programs that everybody has.
func TestOneLine(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	for _, url := range []string{"http://" + web4, "http://[" + web6 + "]", "http://www.test"} {
		if got := seen(sh(t, nil, "curl -sS -m 10 "+url)); got != tunnel {
			t.Errorf("curl %s: seen %s", url, got)
		}
	}
	for _, server := range []string{names4, names6, lan, "8.8.8.8"} {
		for _, flag := range []string{"+notcp", "+tcp"} {
			got := sh(t, nil, "dig +short +tries=1 "+flag+" TXT who.test @"+server)
			if !strings.Contains(got, "1.1.1.1") && !strings.Contains(got, "9.9.9.9") {
				t.Errorf("dig %s @%s: answered by %q, want by a server of the tunnel's", flag, server, got)
			}
		}
	}
	for _, host := range []string{web4, web6} {
		t.Log(sh(t, nil, "ping -c 3 -i 0.2 -W 2 "+host))
	}
	p.stop(t)
	sameAs(t, before)
	_ = net.IPv4len
	_ = time.Second
}
