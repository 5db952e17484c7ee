//go:build e2e && linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	queries  = 100_000
	udpFlows = 10_000
	workers  = 64
)

// Queries and flows come and go, and leave nothing behind.
func TestManyDatagrams(t *testing.T) {
	if !onMachine(t) {
		return
	}
	o := newMachine(t)
	before := snapshot(t)
	p := startTunnel(t, o.config(t, "{enable: true}\nmetrics: {listen: \"127.0.0.1:9100\"}", "four"))
	o.onWire(t)
	atWork(t, 1000, func(i int) error { return query(t, i) })
	pause(t, 2*time.Second)
	was := measure(t, p)

	took := atWork(t, queries, func(i int) error { return query(t, 10_000+i) })
	t.Logf("%d queries in %v, %.0f/s: %v", queries, took, queries/took.Seconds(), measure(t, p))
	took = atWork(t, udpFlows, func(i int) error {
		host := []string{web4, "[" + web6 + "]"}[i%2]
		got := question{proto: "udp", target: host + ":" + whoPort}.answer(t.Context(), patience)
		if got != tunnel {
			return fmt.Errorf("answered %s", got)
		}
		return nil
	})
	t.Logf("%d flows in %v, %.0f/s: %v", udpFlows, took, udpFlows/took.Seconds(), measure(t, p))
	for _, blame := range []string{"upstream failed", "upstream down"} {
		if n := strings.Count(p.log.String(), blame); n > 0 {
			t.Errorf("of a healthy upstream the log says %q %d times", blame, n)
		}
	}
	settled(t, p, was)
	o.wantOnWire(t, "many datagrams", upstream4)
	p.stop(t)
	sameAs(t, before)
}

// atWork does n things, many at a time.
func atWork(t *testing.T, n int, do func(i int) error) time.Duration {
	t.Helper()
	began := time.Now()
	var next, failed atomic.Int64
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := do(i); err != nil && failed.Add(1) <= 5 {
					t.Errorf("%d of %d: %v", i, n, err)
				}
			}
		})
	}
	done.Wait()
	if f := failed.Load(); f > 0 {
		t.Errorf("%d of %d failed", f, n)
	}
	return time.Since(began)
}

// query asks for a name that nobody asked for before, and as applications do, again.
func query(t *testing.T, i int) error {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: uint16(i), RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(fmt.Sprintf("n%d.test.", i)),
			Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	packed, err := m.Pack()
	if err != nil {
		return err
	}
	for range 3 {
		if err = ask(t, packed); err == nil {
			return nil
		}
	}
	return err
}

func ask(t *testing.T, query []byte) error {
	d := net.Dialer{Timeout: patience}
	c, err := d.DialContext(t.Context(), "udp", names4+":53")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(query); err != nil {
		return err
	}
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(buf[:n]); err != nil || len(m.Answers) != 1 {
		return fmt.Errorf("answer %v, %w", m, err)
	}
	return nil
}

// burden is what a program takes.
type burden struct{ memory, goroutines, files int }

func (b burden) String() string {
	return fmt.Sprintf("%d KiB, %d goroutines, %d files", b.memory, b.goroutines, b.files)
}

func measure(t *testing.T, p *program) (b burden) {
	t.Helper()
	b.memory, _ = strconv.Atoi(strings.TrimSuffix(resident(t, p), " kB"))
	for line := range strings.Lines(sh(t, nil, "curl -sS http://127.0.0.1:9100/metrics")) {
		if rest, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			b.goroutines, _ = strconv.Atoi(strings.TrimSpace(rest))
		}
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	b.files = len(files)
	return b
}

// settled waits until flows have had their idle time and the program has as much open as before. Its memory
// is the runtime's to give back, which takes minutes.
func settled(t *testing.T, p *program, was burden) {
	t.Helper()
	var now burden
	for began := time.Now(); time.Since(began) < 100*time.Second; pause(t, time.Second) {
		now = measure(t, p)
		if now.goroutines <= was.goroutines+10 && now.files <= was.files+5 {
			t.Logf("%v after the last flow: %v, before: %v", time.Since(began).Round(time.Second), now, was)
			return
		}
	}
	t.Errorf("afterwards: %v, before: %v", now, was)
}
