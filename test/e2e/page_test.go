//go:build e2e && linux

package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// block returns the commands, or the configuration, of docs/tun.md: the nth block below a heading.
func block(t *testing.T, heading string, nth int) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/tun.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n## "+heading+"\n")
	blocks := regexp.MustCompile("(?ms)^```\\w*\n(.*?)^```").FindAllStringSubmatch(rest, -1)
	if !found || len(blocks) <= nth {
		t.Fatalf("docs/tun.md has no block %d below %q", nth, heading)
	}
	return blocks[nth][1]
}

// tunOf is the value of the key tun in a block of the page.
func tunOf(t *testing.T, text string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^tun: (.*)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no key tun in:\n%s", text)
	}
	return m[1]
}

// TestPageManualWay does what docs/tun.md says of the user's own routes, as written but for the names of the
// gateway and of the uplink.
func TestPageManualWay(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	const heading = "With a device and routes of your own"
	commands := strings.ReplaceAll(block(t, heading, 0), "GATEWAY dev eth0", "192.168.77.2 dev up0")
	sh(t, nil, "for f in all up0; do echo 2 >/proc/sys/net/ipv4/conf/$f/rp_filter; done\n"+commands+
		"\necho 2 >/proc/sys/net/ipv4/conf/tun0/rp_filter")
	quiet(t)
	config := block(t, heading, 1)
	p := startTunnel(t, "fwmark: 123\n"+o.config(t, tunOf(t, config), "four"))
	if !strings.Contains(config, "fwmark: 123") {
		t.Errorf("the page has another mark than its commands:\n%s", config)
	}
	both(t, web4+":"+whoPort, tunnel)
	both(t, lan+":"+whoPort, direct)
	p.stop(t)
}

// TestPageNamespace does what docs/tun.md says of one program alone.
func TestPageNamespace(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	const heading = "One program, or one container, alone"
	sh(t, nil, "mount -t tmpfs tmpfs /run; mkdir /run/netns\n"+block(t, heading, 0))
	p := start(t, o.config(t, tunOf(t, block(t, heading, 1)), "four"))
	p.says(t, "full tunnel")
	lines := strings.Replace(block(t, heading, 2), "curl https://example.com",
		"curl -sS -m 10 --retry 5 --retry-all-errors http://"+web4, 1)
	if got := seen(sh(t, nil, lines)); got != tunnel {
		t.Errorf("seen %s", got)
	}
	p.stop(t)
}
