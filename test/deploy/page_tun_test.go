package deploy

import "testing"

// readTun leaves it to test/e2e to have a tunnel: that has namespaces for it.
func (p *Page) readTun(t *testing.T) {
	const removed = "0 rules, routes and tables removed"
	wantText(t, p.Do(t, "outline-cli-ws tun down"), removed)
	// Its exit status says that there is none.
	p.Stay(t, "outline-cli-ws tun status").Wait(t, "nothing leads this host's traffic to a tunnel")
	p.Skip(t, `ip tuntap add dev tun0 mode tun
ip addr add 10.10.0.1/24 dev tun0
ip link set tun0 up
ip route add default via GATEWAY dev eth0 table 100
ip rule add fwmark 123 lookup 100
ip route add 0.0.0.0/1 dev tun0
ip route add 128.0.0.0/1 dev tun0`, "TestPageManualWay of test/e2e does it")
	for _, commands := range []string{
		`ip netns add jail
ip -n jail link set lo up`,
		`ip -n jail addr add 10.9.0.1/24 dev tun0
ip -n jail link set tun0 up
ip -n jail route add default dev tun0
ip netns exec jail curl https://example.com`,
	} {
		p.Skip(t, commands, "TestPageNamespace of test/e2e does it")
	}
	p.Do(t, "setcap cap_net_admin+ep outline-cli-ws")
	wantText(t, p.Do(t, "outline-cli-ws tun down"), removed)
}
