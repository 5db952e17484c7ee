package app

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/dialer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/gate"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/socks5"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/tun"
	"github.com/outline-cli-ws/outline-cli-ws/internal/metrics"
	"github.com/outline-cli-ws/outline-cli-ws/internal/report"
	"github.com/outline-cli-ws/outline-cli-ws/internal/status"
	"github.com/outline-cli-ws/outline-cli-ws/internal/wake"
)

// drainTime is how long flows may go on once the program was told to stop.
const drainTime = 10 * time.Second

// App is the running program.
type App struct {
	log      *slog.Logger
	server   *socks5.Server
	gate     *gate.Gate
	heap     heapLimit
	balancer *balancer.Balancer
	probing  probing
	network  network
	tunnel   *tunnel // nil: there is none
	state    state
	metrics  *metrics.Metrics
	tallies  tallies
	inbound  *inboundTally
	started  time.Time
	facts    atomic.Pointer[facts]
	service  Service
	api      api
	closing  sync.WaitGroup // units and listeners that are not used any more

	// Load reads the configuration again when the status API is asked to; nil: it cannot. It is to be set
	// before Run.
	Load func() (*config.Config, error)

	loading   sync.Mutex // held while a file is read and put into force
	reloading sync.Mutex // one configuration after the other; guards the following
	reloads   report.Reload
	config    *config.Config
	fleet     *fleet
	serving   context.Context //nolint:containedctx // of Run; nil before
	doors     map[place]*door
	stopped   bool
}

// New builds the program and opens nothing but the state file.
func New(c *config.Config, log *slog.Logger) (*App, error) {
	if isIdle(c) {
		return nil, errNothingToDo
	}
	a := &App{
		log:      log,
		heap:     heapLimit{set: debug.SetMemoryLimit},
		balancer: balancer.New(nil, balancer.Options{Logger: log}),
		state:    state{path: c.StateFile, log: log},
		inbound:  newInboundTally(log),
		started:  time.Now(),
		doors:    make(map[place]*door),
	}
	a.server = &socks5.Server{Logger: log, Observer: a.inbound}
	a.gate = gate.New(gate.Options{Logger: log, GiveUp: a.cutNewest})
	a.server.Gate = a.gate
	a.tunnel = newTunnel(c, a.balancer, log)
	if a.tunnel != nil {
		a.tunnel.server = &tun.Server{Logger: a.tunnel.log, Observer: a.inbound, Gate: a.gate}
	}
	a.metrics = metrics.New(Version(), a.Report)
	open := new(dialer.Sockets)
	a.network.sockets, a.network.probing = open, &a.probing
	a.network.survey = func(f *fleet) ways { return a.tunnel.outside(f.ways()) }
	a.network.log, a.network.changed = log, a.tunnel.changed
	none := &fleet{parts: parts{
		budget: windows{}.budget(), buffers: new(sync.Once), open: open, log: log,
		tallies: &a.tallies, metrics: a.metrics, soon: a.probing.soon,
		mark: a.tunnel.mark(), outside: a.tunnel.outsideServers(),
	}}
	p, err := a.plan(c, none)
	if err != nil {
		return nil, err
	}
	a.apply(p)
	err = a.state.load(time.Now())
	a.probing.acquit(a.fleet)
	return a, err
}

// isIdle reports whether a configuration has no way in.
func isIdle(c *config.Config) bool { return len(c.Listen.SOCKS5) == 0 && !c.TUN.Enable }

var errNothingToDo = errors.New("nothing to do: SOCKS5 and the full tunnel are off; " +
	"set listen.socks5 or tun.enable")

// Run listens and serves until stop ends, then lets flows finish for up to 10 s, or until cut ends, and
// resets the rest; those of the full tunnel are reset at once. It fails when it cannot listen on every
// address, and then on none, and when the device of the tunnel fails.
func (a *App) Run(stop, cut context.Context) error {
	a.announce(a.config)
	stop, fail := context.WithCancelCause(stop)
	defer fail(nil)
	if err := a.begin(stop, fail); err != nil {
		return err
	}
	a.say("READY=1", "STATUS=serving")
	a.network.look(wake.Network) // before anything dials
	var running sync.WaitGroup
	running.Go(func() { a.network.run(stop) })
	running.Go(func() { _ = a.balancer.Run(stop) }) // these end with stop alone
	running.Go(func() { a.probing.run(stop) })
	running.Go(func() { a.state.run(stop) })
	running.Go(func() { a.relieve(stop) })
	running.Go(func() { a.watch(stop) })
	running.Go(func() { _ = a.gate.Run(stop) })
	<-stop.Done()
	a.say("STOPPING=1", "STATUS=letting flows finish")
	a.drain(cut)
	running.Wait()
	a.log.InfoContext(stop, "stopped")
	if cause := context.Cause(stop); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// begin opens all ways in, or none.
func (a *App) begin(stop context.Context, fail context.CancelCauseFunc) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	fresh, err := a.firstListeners(stop)
	if err != nil {
		return err
	}
	if a.tunnel != nil {
		if err := a.tunnel.open(stop, a.config, a.fleet, fail); err != nil {
			for _, l := range fresh {
				_ = l.Close()
			}
			return err
		}
	}
	a.serving = stop
	a.open(fresh)
	return nil
}

// Offline reports whether this host has no network, so that nothing is tried.
func (a *App) Offline() bool { return a.network.offline.Load() }

// open serves listeners, in the order of their places. The caller holds reloading.
func (a *App) open(fresh map[place]net.Listener) {
	for _, p := range slices.SortedFunc(maps.Keys(fresh), comparePlaces) {
		l := fresh[p]
		ctx, cancel := context.WithCancel(a.serving)
		d := &door{listener: l, addr: l.Addr().String(), stop: cancel, done: make(chan struct{})}
		a.doors[p] = d
		a.log.InfoContext(ctx, "listening", "inbound", p.kind, "addr", d.addr)
		if d.tended = a.tend(p, l); d.tended != nil {
			l = d.tended
		}
		go func() { // shut waits for it
			defer close(d.done)
			a.serve(ctx, p.kind, l)
		}()
	}
	a.publish()
}

// serve serves a listener until ctx ends.
func (a *App) serve(ctx context.Context, kind string, l net.Listener) {
	switch kind {
	case kindSOCKS5:
		_ = a.server.Serve(ctx, l) // it ends with ctx alone
	case kindMetrics:
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", a.metrics.Handler())
		_ = status.Serve(ctx, l, mux)
	case kindStatus:
		_ = status.Serve(ctx, l, &a.api)
	}
}

// shut stops accepting at a place; its flows go on, and so does a request that has asked for just this. The
// caller holds reloading.
func (a *App) shut(p place) {
	d := a.doors[p]
	delete(a.doors, p)
	d.stop()
	_ = d.listener.Close() // now, for whoever takes its place
	a.closing.Go(func() { <-d.done })
}

// drain lets flows finish and then closes what they shared.
func (a *App) drain(cut context.Context) {
	a.log.InfoContext(cut, "stopping", "drain", drainTime.String())
	a.tunnel.close()
	a.reloading.Lock()
	a.stopped = true
	for p := range a.doors {
		a.shut(p)
	}
	a.reloading.Unlock()
	ctx, cancel := context.WithTimeout(cut, drainTime)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.WarnContext(ctx, "flows cut", "err", err)
	}
	a.balancer.Update(nil, balancer.Options{}) // which lets go of the units
	_ = a.balancer.Close()
	a.closing.Wait()
}

// announce logs once what the user of this file may not expect.
func (a *App) announce(c *config.Config) {
	for _, note := range c.Notes {
		a.log.Info("note", "text", note)
	}
	if len(c.Deprecated) > 0 {
		a.log.Warn("keys without a meaning any more", "keys", strings.Join(c.Deprecated, " "))
	}
}
