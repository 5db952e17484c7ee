package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// drainTime is how long flows may go on once the program was told to stop.
const drainTime = 10 * time.Second

// App is the running program.
type App struct {
	*graph
	config *config.Config
	log    *slog.Logger
}

// New builds the program and opens nothing but the state file.
func New(c *config.Config, log *slog.Logger) (*App, error) {
	if len(c.Listen.SOCKS5) == 0 {
		return nil, errors.New("nothing to do: SOCKS5 is off and the full tunnel is not available in this " +
			"build; set listen.socks5")
	}
	g, err := build(c, log)
	if err != nil {
		return nil, err
	}
	if err := g.state.load(time.Now()); err != nil {
		return nil, err
	}
	return &App{graph: g, config: c, log: log}, nil
}

// Run listens and serves until stop ends, then lets flows finish for up to 10 s, or until cut ends, and
// resets the rest. It fails when it cannot listen on every address, and then on none.
func (a *App) Run(stop, cut context.Context) error {
	a.announce()
	listeners, err := listenAll(stop, a.config.Listen.SOCKS5)
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = a.balancer.Run(stop) }) // these end with stop alone
	serving.Go(func() { _ = a.prober.Run(stop) })
	serving.Go(func() { a.state.run(stop) })
	for _, l := range listeners {
		a.log.InfoContext(stop, "listening", "inbound", "socks5", "addr", l.Addr().String())
		serving.Go(func() { _ = a.server.Serve(stop, l) })
	}
	<-stop.Done()
	a.drain(cut)
	serving.Wait()
	a.log.InfoContext(stop, "stopped")
	return nil
}

// drain lets flows finish and then closes what they shared.
func (a *App) drain(cut context.Context) {
	a.log.InfoContext(cut, "stopping", "drain", drainTime.String())
	ctx, cancel := context.WithTimeout(cut, drainTime)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.WarnContext(ctx, "flows cut", "err", err)
	}
	for _, c := range a.close {
		_ = c.Close() // nobody uses it any more
	}
}

// announce logs once what the user of this file may not expect.
func (a *App) announce() {
	c := a.config
	for _, note := range c.Notes {
		a.log.Info("note", "text", note)
	}
	if len(c.Deprecated) > 0 {
		a.log.Warn("keys without a meaning any more", "keys", strings.Join(c.Deprecated, " "))
	}
	if len(c.NotAvailable) > 0 {
		a.log.Warn("not available in this build", "keys", strings.Join(c.NotAvailable, " "))
	}
}
