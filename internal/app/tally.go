package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/carrier"
	"github.com/outline-cli-ws/outline-cli-ws/internal/gate"
	"github.com/outline-cli-ws/outline-cli-ws/internal/health"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/socks5"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
	"github.com/outline-cli-ws/outline-cli-ws/internal/transport"
	"github.com/outline-cli-ws/outline-cli-ws/internal/websocket"
)

// maxPast is of how many upstreams that are gone the last flows are counted. Who reloads that often has
// others sooner than flows end.
const maxPast = 64

// tallies count what upstreams do, by name, so that the figures of one go on when a reload makes it anew.
type tallies struct {
	mu     sync.Mutex
	byName map[string]*tally
	past   []*tally       // of upstreams that are gone, whose last flows may go on
	sum    report.Traffic // in the WebSockets of those that were gone before these
}

// tally is one upstream's.
type tally struct {
	websocket          websocket.Traffic
	tcp, udp           pathTally
	certificateExpires atomic.Int64 // Unix time; 0: none was seen
}

// pathTally is of one protocol.
type pathTally struct {
	balancer.Counters
	failures [len(failureReasons)]atomic.Uint64
}

// of returns the tally of an upstream.
func (t *tallies) of(name string) *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName == nil {
		t.byName = make(map[string]*tally)
	}
	if t.byName[name] == nil {
		t.byName[name] = new(tally)
	}
	return t.byName[name]
}

// retain forgets all but the upstreams of a fleet, and returns who was forgotten.
func (t *tallies) retain(f *fleet) (forgotten []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, gone := range t.byName {
		if f.named(name) == nil {
			delete(t.byName, name)
			t.past = append(t.past, gone)
			forgotten = append(forgotten, name)
		}
	}
	for len(t.past) > maxPast {
		t.sum.Add(inside(&t.past[0].websocket))
		t.past = slices.Delete(t.past, 0, 1)
	}
	return forgotten
}

// inWebSockets is what the WebSockets to all upstreams carried, those that are gone included: it never
// shrinks.
func (t *tallies) inWebSockets() report.Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.sum
	for _, one := range t.past {
		sum.Add(inside(&one.websocket))
	}
	for _, one := range t.byName {
		sum.Add(inside(&one.websocket))
	}
	return sum
}

// failed counts a failure.
func (t *pathTally) failed(err error) { t.failures[reasonOf(err)].Add(1) }

// failureReasons are the reasons by which failures are counted.
var failureReasons = [...]string{"timeout", "tls", "dns", "refused", "other", "unknown"}

// Places in failureReasons.
const (
	timedOut = iota
	tlsFailed
	dnsFailed
	refused
	otherReason
	unknownReason
)

// reasonOf is the place of an error's reason.
func reasonOf(err error) int {
	var (
		lookup  *net.DNSError
		opening *carrier.Error
	)
	timeout := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, balancer.ErrSilent) || errors.Is(err, health.ErrStalled) ||
		errors.Is(err, syscall.ETIMEDOUT)
	switch isOpening := errors.As(err, &opening); {
	case errors.As(err, &lookup):
		return dnsFailed
	case timeout:
		return timedOut
	case isOpening && opening.Stage == carrier.StageTLS:
		return tlsFailed
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused
	case isOpening, errors.As(err, new(syscall.Errno)), errors.As(err, new(net.Error)):
		return otherReason
	}
	return unknownReason
}

// inboundTally counts what applications do, and says at level debug which of their datagrams were not
// relayed.
type inboundTally struct {
	log      *slog.Logger
	tcp, udp flowTally
	dropped  map[string]*atomic.Uint64 // by reason
}

type flowTally struct {
	open  atomic.Int64
	total atomic.Uint64
}

func newInboundTally(log *slog.Logger) *inboundTally {
	t := &inboundTally{log: log, dropped: make(map[string]*atomic.Uint64)}
	for _, reason := range socks5.DropReasons() {
		t.dropped[reason] = new(atomic.Uint64)
	}
	return t
}

func (t *inboundTally) of(proto string) *flowTally {
	if proto == balancer.UDP {
		return &t.udp
	}
	return &t.tcp
}

// FlowOpened implements socks5.Observer.
func (t *inboundTally) FlowOpened(proto string) {
	f := t.of(proto)
	f.open.Add(1)
	f.total.Add(1)
}

// FlowClosed implements socks5.Observer.
func (t *inboundTally) FlowClosed(proto string) { t.of(proto).open.Add(-1) }

// PacketDropped implements socks5.Observer.
func (t *inboundTally) PacketDropped(reason string) {
	t.dropped[reason].Add(1)
	t.log.Debug("datagram of a client dropped", "inbound", "socks5", "reason", reason)
}

// flows are those of both protocols, with what the gate says of them.
func (t *inboundTally) flows(g gate.Stats) []report.Flows {
	one := func(proto string, c gate.Counts) report.Flows {
		f := t.of(proto)
		return report.Flows{
			Proto: proto, Open: f.open.Load(), Total: f.total.Load(), Waiting: c.Waiting,
			Refused: map[string]uint64{"flows": c.RefusedFlows, "memory": c.RefusedMemory},
		}
	}
	return []report.Flows{one(balancer.TCP, g.TCP), one(balancer.UDP, g.UDP)}
}

func (t *inboundTally) drops() map[string]uint64 {
	drops := make(map[string]uint64, len(t.dropped))
	for reason, n := range t.dropped {
		drops[reason] = n.Load()
	}
	return drops
}

// timed is an endpoint that tells how long it took to connect.
type timed struct {
	transport.StreamEndpoint
	took func(time.Duration)
}

// ConnectStream implements transport.StreamEndpoint.
func (t timed) ConnectStream(ctx context.Context) (transport.StreamConn, error) {
	began := time.Now()
	conn, err := t.StreamEndpoint.ConnectStream(ctx)
	if err == nil {
		t.took(time.Since(began))
	}
	return conn, err
}
