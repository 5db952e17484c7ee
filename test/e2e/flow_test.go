//go:build e2e && linux

package e2e

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// Datagrams larger than the device's MTU come in fragments, and go out so.
func TestLargeDatagrams(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	for _, host := range []string{web4, "[" + web6 + "]"} {
		for _, size := range []int{1, 1200, 1472, 2000, 4000} {
			if err := echoed(t, host+":"+whoPort, size); err != nil {
				t.Errorf("%d bytes to %s: %v", size, host, err)
			}
		}
		t.Logf("5000 bytes, which no server takes, to %s: %v", host, echoed(t, host+":"+whoPort, 5000))
	}
	p.stop(t)
}

func echoed(t *testing.T, target string, size int) error {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "udp", target)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	sent, buf := bytes.Repeat([]byte{'x'}, size), make([]byte, 64<<10)
	for range 3 {
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err = c.Write(sent); err != nil {
			return err
		}
		var n int
		if n, err = c.Read(buf); err == nil && bytes.Equal(buf[:n], sent) {
			return nil
		}
	}
	return err
}

// A socket has one address outside, whomever it talks to: what peers of games and calls rely on.
func TestOneMapping(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	c, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ports := make(map[string]bool)
	for _, host := range []string{web4, "203.0.113.20"} {
		to := &net.UDPAddr{IP: net.ParseIP(host), Port: 7000}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.WriteTo([]byte(who), to); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 128)
		n, from, err := c.ReadFrom(buf)
		if err != nil || from.String() != to.String() {
			t.Fatalf("answered by %v, %v, want %v", from, err, to)
		}
		_, port, _ := net.SplitHostPort(string(buf[:n]))
		ports[port] = true
	}
	if len(ports) != 1 {
		t.Errorf("one socket is seen as ports %v", ports)
	}
	p.stop(t)
}

// Nobody answers a ping in the place of a machine that cannot be reached.
func TestPingWithoutUpstream(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	o.fails(t, outlinetest.RefuseTCP)
	for _, proto := range []string{"tcp", "udp"} {
		q := question{proto: proto, target: web4 + ":" + whoPort}
		t.Logf("%s is refused after %v", proto, q.eventually(t, refused, 10*time.Second))
	}
	if out, err := try(t, nil, "ping -c 3 -i 0.2 -W 1 "+web4); err == nil {
		t.Errorf("a ping is answered:\n%s", out)
	}
	p.stop(t)
}

// The end of one direction is not the end of the other.
func TestHalfClose(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	c, err := openFlow(t, web4+":"+whoPort)
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("all of it "), 400_000)
	got := make(chan []byte)
	go func() {
		all, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		got <- all
	}()
	if _, err := c.Write(sent); err != nil {
		t.Error(err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if all := <-got; !bytes.Equal(all, sent) {
		t.Errorf("%d bytes came back of %d", len(all), len(sent))
	}
	p.stop(t)
}

// Applications notice nothing while another upstream is there.
func TestAnotherUpstreamTakesOver(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four", "six"))
	o.onWire(t)
	o.fails(t, outlinetest.RefuseTCP)
	for range 30 {
		both(t, web4+":"+whoPort, tunnel)
		both(t, "["+web6+"]:"+whoPort, tunnel)
	}
	o.wantOnWire(t, "one of two upstreams fails", upstream4, upstream6)
	p.stop(t)
}

// The uplink gets another address, as in another wireless network.
func TestUplinkChangesItsAddress(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	sh(t, nil, `ip addr del 192.168.77.1/24 dev up0
		ip addr add 192.168.77.9/24 dev up0
		ip route replace default via 192.168.77.2`)
	for _, proto := range []string{"tcp", "udp"} {
		q := question{proto: proto, target: web4 + ":" + whoPort}
		t.Logf("%s goes through %v after the change", proto, q.eventually(t, tunnel, 10*time.Second))
	}
	p.stop(t)
}

// Without any right: the user's own device, made for another user, and a rule for that user.
func TestWithoutRights(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	openDevice(t)
	sh(t, nil, `for f in all up0; do echo 2 >/proc/sys/net/ipv4/conf/$f/rp_filter; done
		ip tuntap add dev tun0 mode tun user 65534
		ip addr add 10.10.0.1/24 dev tun0
		ip -6 addr add fd00:10::1/64 dev tun0 nodad
		ip link set tun0 up
		ip rule add uidrange 65534-65534 lookup 100
		ip route add default via 192.168.77.2 table 100
		ip route add 0.0.0.0/1 dev tun0
		ip route add 128.0.0.0/1 dev tun0
		ip -6 route add 2000::/3 dev tun0`)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"), nobody()...)
	o.onWire(t)
	both(t, web4+":"+whoPort, tunnel)
	both(t, "["+web6+"]:"+whoPort, tunnel)
	o.wantOnWire(t, "without rights", upstream4)
	if strings.Contains(p.log.String(), "cannot be removed") {
		t.Error("the program is sorry for what it never could have left")
	}
	for _, command := range []string{"status", "down"} {
		got, err := try(t, nil, strings.Join(nobody(), " ")+" $"+programVar+" tun "+command)
		if err == nil || !strings.Contains(got, "CAP_NET_ADMIN") {
			t.Errorf("tun %s says %q, %v, want the right that is missing", command, got, err)
		}
	}
	p.stop(t)
}
