package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/outlinetest"
)

const (
	secretWord = "chaos"
	slowness   = 200 * time.Millisecond
	replyTime  = 10 * time.Second // for a server to do what it is told
	portTime   = 2 * time.Second  // for a port to be free again
	bothTCPUDP = outlinetest.HTTP1 | outlinetest.HTTP2 | outlinetest.HTTP3
)

// place is what makes a server the same after a restart.
type place struct {
	Addr        string
	Certificate string            // file that keeps it
	Hosts       map[string]string // targets that are elsewhere
}

func (p place) url(path string) string { return "wss://" + p.Addr + path }

const (
	streamPath = "/chaos/tcp"
	packetPath = "/chaos/udp"
)

// beServer is the process of a server. It reads its place, and then the faults to have, one JSON value per
// line, and answers each with a line: empty, or what went wrong. It ends with its input.
func beServer(in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(in)
	var p place
	if err := lines.Decode(&p); err != nil {
		return err
	}
	s, err := startServer(p)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		if _, err := fmt.Fprintln(out); err != nil {
			return err
		}
		var f fault
		if err := lines.Decode(&f); err != nil {
			return nil // the parent is gone, or wants us to be
		}
		if err := strike(s, f); err != nil {
			return err
		}
	}
}

func startServer(p place) (*outlinetest.Server, error) {
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		s, err := outlinetest.Start(outlinetest.Config{
			Addr: p.Addr, Secret: secretWord, StreamPath: streamPath, PacketPath: packetPath,
			Protocols: bothTCPUDP, Cert: outlinetest.Cert{File: p.Certificate}, Hosts: p.Hosts,
		})
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(began) > portTime {
			return s, err
		}
	}
}

// strike has a fault begin; calm ends those that do not need a new process for it.
func strike(s *outlinetest.Server, f fault) error {
	switch f {
	case calm:
		return s.SetFault(outlinetest.Fault{})
	case freeze:
		return s.SetFault(outlinetest.Fault{Freeze: true})
	case slow:
		return s.SetFault(outlinetest.Fault{Delay: slowness})
	case stall:
		s.FreezeAll()
		return s.SetFault(outlinetest.Fault{Stage: outlinetest.StallHTTP})
	case blackhole:
		defer s.CutAll()
		return s.SetFault(outlinetest.Fault{Stage: outlinetest.Blackhole})
	case secret:
		defer s.CutAll()
		return s.SetFault(outlinetest.Fault{Stage: outlinetest.WrongSecret})
	case kill:
	}
	return fmt.Errorf("a server cannot %s itself", f)
}

// server is the parent's view of one.
type server struct {
	name string
	place
	process *process
	replies chan string // of its process
}

// newServer starts a server on a free port.
func newServer(name, folder string, hosts map[string]string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s := &server{name: name, place: place{addr, filepath.Join(folder, name+".pem"), hosts}}
	return s, s.start()
}

// start starts the process, and returns when it serves.
func (s *server) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	replies := make(chan string, 1)
	s.process, err = start(func(line []byte) {
		select {
		case replies <- string(line):
		default:
		}
	}, self, "-serve")
	if err != nil {
		return err
	}
	s.replies = replies
	return s.tell(s.place)
}

// tell gives the process one value, and waits until it has done what that means.
func (s *server) tell(value any) error {
	if err := json.NewEncoder(s.process.in).Encode(value); err != nil {
		return fmt.Errorf("server %s: %w", s.name, err)
	}
	select {
	case reply := <-s.replies:
		if reply != "\n" {
			return fmt.Errorf("server %s: %s", s.name, reply)
		}
		return nil
	case <-s.process.ended:
		return fmt.Errorf("server %s has ended: %w", s.name, s.process.err)
	case <-time.After(replyTime):
		return fmt.Errorf("server %s does nothing", s.name)
	}
}

// strike has a fault begin.
func (s *server) strike(f fault) error {
	if f == kill {
		s.process.kill()
		return nil
	}
	return s.tell(f)
}

// revive ends a fault: where connections are stuck, as users see it, by a restart.
func (s *server) revive(f fault) error {
	switch f {
	case kill, stall, blackhole, secret:
		s.process.kill()
		return s.start()
	default:
		return s.tell(calm)
	}
}

// freeAddr returns an address on loopback with a port below those that systems give to outgoing connections,
// so that it is free again after a restart.
func freeAddr() (string, error) {
	const first, last = 12000, 30000
	for port := first + int(time.Now().UnixNano())%(last-first); port < 2*last; port++ {
		addr := fmt.Sprintf("127.0.0.1:%d", first+port%(last-first))
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = tcp.Close()
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		return addr, udp.Close()
	}
	return "", errors.New("no free port")
}
