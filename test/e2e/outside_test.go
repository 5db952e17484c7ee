//go:build e2e && linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"syscall"
	"testing"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

// Hosts outside.
const (
	web4    = "203.0.113.10"
	web6    = "2001:db8:1::10"
	names4  = "203.0.113.53"
	names6  = "2001:db8:1::53"
	server4 = "198.51.100.1"
	server6 = "2001:db8:2::1"

	whoPort    = "7000" // answers with the address that it sees
	serverPort = "9000"
	serverName = "outline.test"
	who        = "who"
)

// farAddrs are the addresses outside that are not on the uplink's link. The servers that a tunnel asks for
// names unless told otherwise are among them.
func farAddrs() []string {
	return []string{
		web4 + "/32", "203.0.113.20/32", web6 + "/128", names4 + "/32", names6 + "/128",
		server4 + "/32", server6 + "/128", "1.1.1.1/32", "9.9.9.9/32",
	}
}

// order is what the process outside is told to do, and report what it answers.
type (
	order struct {
		Do                  string
		Proto, Target, From string
		Fault               outlinetest.Stage
	}
	report struct {
		Err, Answer string
		Wire        map[string]int // packets, by what they are
		Dropped     int            // that were not seen
		URLs        map[string][2]string
	}
)

// outside is the process in the namespace with everything else. It does what it is told.
type outside struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	cmd := role(t, "outside")
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return &outside{cmd, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
}

func (o *outside) must(t *testing.T, what order) (r report) {
	t.Helper()
	if err := o.in.Encode(what); err != nil {
		t.Fatal(err)
	}
	if err := o.out.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Err != "" {
		t.Fatalf("%+v: %s", what, r.Err)
	}
	return r
}

// fails makes the server "four" misbehave; NoStage ends that.
func (o *outside) fails(t *testing.T, f outlinetest.Stage) {
	t.Helper()
	o.must(t, order{Do: "fault", Fault: f})
}

// world is what that process has.
type world struct {
	servers map[string]*outlinetest.Server
	wire    wire
}

func runOutside(in io.Reader, out io.Writer) {
	w := &world{servers: make(map[string]*outlinetest.Server)}
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if orders.Decode(&o) != nil {
			return
		}
		var r report
		if err := w.do(o, &r); err != nil {
			r.Err = err.Error()
		}
		if answers.Encode(r) != nil {
			return
		}
	}
}

func (w *world) do(o order, r *report) (err error) {
	switch o.Do {
	case "open":
		if err := w.open(); err != nil {
			return err
		}
		return w.wire.open("far0")
	case "urls":
		r.URLs = make(map[string][2]string)
		for name, s := range w.servers {
			r.URLs[name] = [2]string{s.StreamURL(), s.PacketURL()}
		}
	case "ask":
		q := question{proto: o.Proto, target: o.Target, from: o.From}
		r.Answer = q.answer(context.Background(), patience)
	case "fault":
		s := w.servers["four"]
		if err := s.SetFault(outlinetest.Fault{Stage: o.Fault}); err != nil {
			return err
		}
		if o.Fault != outlinetest.NoStage {
			s.CutAll()
		}
	case "wire":
		r.Wire, r.Dropped, err = w.wire.take()
	default:
		err = fmt.Errorf("no order: %q", o.Do)
	}
	return err
}

// open opens everything there is outside.
func (w *world) open() error {
	for name, host := range map[string]string{"four": server4, "six": server6} {
		s, err := outlinetest.Start(outlinetest.Config{
			Addr: net.JoinHostPort(host, serverPort), Plain: true, AnyTarget: true,
			Hosts: map[string]string{"example.com:80": web4 + ":80"},
		})
		if err != nil {
			return err
		}
		w.servers[name] = s
	}
	for _, host := range []string{web4, web6, lan, lan6, "203.0.113.20"} {
		if err := answerWho(net.JoinHostPort(host, whoPort)); err != nil {
			return err
		}
	}
	for _, host := range []string{web4, web6, lan} {
		if err := serveWeb(net.JoinHostPort(host, "80")); err != nil {
			return err
		}
	}
	for _, host := range []string{names4, names6, lan, "1.1.1.1", "9.9.9.9"} {
		if err := serveNames(net.JoinHostPort(host, "53")); err != nil {
			return err
		}
	}
	return nil
}
