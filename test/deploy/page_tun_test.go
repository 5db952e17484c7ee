package deploy

import "testing"

func (p *Page) readTun(t *testing.T) {
	const reason = "test/e2e does it, in namespaces of its own: TestOneLine, TestPageManualWay, TestPageNamespace"
	for _, commands := range []string{
		"outline-cli-ws tun status",
		`ip tuntap add dev tun0 mode tun
ip addr add 10.10.0.1/24 dev tun0
ip link set tun0 up
ip route add default via GATEWAY dev eth0 table 100
ip rule add fwmark 123 lookup 100
ip route add 0.0.0.0/1 dev tun0
ip route add 128.0.0.0/1 dev tun0`,
		`ip netns add jail
ip -n jail link set lo up`,
		`ip -n jail addr add 10.9.0.1/24 dev tun0
ip -n jail link set tun0 up
ip -n jail route add default dev tun0
ip netns exec jail curl https://example.com`,
	} {
		p.Skip(t, commands, reason)
	}
}
