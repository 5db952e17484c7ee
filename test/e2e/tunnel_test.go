//go:build e2e && linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The single line of the documentation, and the programs that everybody has.
func TestOneLine(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	serve(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	o.onWire(t)
	for _, url := range []string{"http://" + web4, "http://[" + web6 + "]", "http://www.test"} {
		if got := seen(sh(t, nil, "curl -sS -m 10 "+url)); got != tunnel {
			t.Errorf("curl %s: seen %s", url, got)
		}
	}
	for _, server := range []string{names4, names6, lan, "8.8.8.8"} {
		for _, flag := range []string{"+notcp", "+tcp"} {
			digs(t, server, flag)
		}
	}
	for _, host := range []string{web4, web6} {
		t.Log(sh(t, nil, "ping -c 3 -i 0.2 -W 2 "+host+" | tail -n 2"))
	}
	for _, host := range []string{web4, "[" + web6 + "]"} {
		both(t, host+":"+whoPort, tunnel)
		question{proto: "tcp", target: host + ":1"}.want(t, refused)
	}
	both(t, "["+lan6+"]:"+whoPort, tunnel) // a neighbour, but with a public address
	o.wantOnWire(t, "curl, dig and ping", upstream4)
	o.reachable(t)
	p.stop(t)
	sameAs(t, before)
}

// digs wants an answer from a server that the tunnel asks, whoever was asked.
func digs(t *testing.T, server, flag string) {
	t.Helper()
	got, err := try(t, nil, "dig +short +tries=1 +time=5 "+flag+" TXT who.test @"+server)
	if err != nil || !strings.Contains(got, "1.1.1.1") && !strings.Contains(got, "9.9.9.9") {
		t.Errorf("dig %s @%s: answered by %q, %v, want by a server of the tunnel's", flag, server, got, err)
	}
}

const flowsAtOnce = 1000

func TestManyFlows(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	o.onWire(t)
	t.Logf("memory before: %s", resident(t, p))
	began := time.Now()
	var flows sync.WaitGroup
	open := make(chan net.Conn, flowsAtOnce)
	for i := range flowsAtOnce {
		flows.Go(func() {
			host := []string{web4, "[" + web6 + "]"}[i%2]
			c, err := openFlow(t, host+":"+whoPort)
			if err != nil {
				t.Errorf("flow %d: %v", i, err)
				return
			}
			open <- c
		})
	}
	flows.Wait()
	close(open)
	t.Logf("%d flows open after %v, memory: %s", len(open), time.Since(began), resident(t, p))
	for c := range open {
		flows.Go(func() {
			if err := say(c, strings.Repeat("x", 20000)); err != nil {
				t.Error(err)
			}
			_ = c.Close()
		})
	}
	flows.Wait()
	t.Logf("done after %v, memory: %s", time.Since(began), resident(t, p))
	o.wantOnWire(t, "many flows", upstream4)
	p.stop(t)
	sameAs(t, before)
}

// openFlow opens a connection over which whatever is said comes back.
func openFlow(t *testing.T, target string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{Timeout: 30 * time.Second}
	c, err := d.DialContext(t.Context(), "tcp", target)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := c.Write([]byte(who)); err != nil {
		return nil, err
	}
	buf := make([]byte, 128)
	n, err := c.Read(buf)
	if err == nil && seen(string(buf[:n])) != tunnel {
		err = fmt.Errorf("seen %s", seen(string(buf[:n])))
	}
	return c, err
}

func say(c net.Conn, text string) error {
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	buf := make([]byte, len(text))
	if _, err := io.ReadFull(c, buf); err != nil {
		return err
	}
	if string(buf) != text {
		return fmt.Errorf("%d bytes came back as others", len(text))
	}
	return nil
}

// resident is the memory of the program.
func resident(t *testing.T, p *program) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func TestThroughput(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	p := startTunnel(t, o.config(t, "{enable: true}", "four"))
	for i, host := range []string{web4, web6} {
		for j, flags := range []string{"", "-R", "-P 8", "-P 8 -R"} {
			at := fmt.Sprintf("%s -p %d", host, 5201+4*i+j)
			o.serveIperf(t, at)
			t.Logf("iperf3 -c %s %s: %.2f Gbit/s", host, flags, iperf(t, at+" "+flags))
		}
	}
	p.stop(t)
}

// serveIperf serves one client. It ends with this process at the latest.
func (o *outside) serveIperf(t *testing.T, at string) {
	t.Helper()
	words := []string{"-n", "-t", fmt.Sprint(o.cmd.Process.Pid), "iperf3", "-s", "-1", "--forceflush", "-B"}
	words = append(words, strings.Fields(at)...)
	cmd := exec.CommandContext(t.Context(), "nsenter", words...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "Server listening") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
}

// iperf returns the gigabits per second that arrived.
func iperf(t *testing.T, flags string) float64 {
	t.Helper()
	out := sh(t, nil, "iperf3 -J -t 2 --connect-timeout 5000 -c "+flags)
	var got struct {
		End struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.End.Received.Bits < 1e6 {
		t.Errorf("iperf3 %s: %v\n%s", flags, err, out)
	}
	return got.End.Received.Bits / 1e9
}
