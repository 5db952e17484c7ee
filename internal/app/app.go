package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/inbound/socks5"
)

// drainTime is how long flows may go on once the program was told to stop.
const drainTime = 10 * time.Second

// App is the running program.
type App struct {
	config *config.Config
	log    *slog.Logger
	server *socks5.Server
	close  []io.Closer // once the server is shut down
}

// New builds the program and opens nothing.
func New(c *config.Config, log *slog.Logger) (*App, error) {
	if len(c.Listen.SOCKS5) == 0 {
		return nil, errors.New("nothing to do: SOCKS5 is off and the full tunnel is not available in this " +
			"build; set listen.socks5")
	}
	server, closers, err := build(c, log)
	if err != nil {
		return nil, err
	}
	return &App{config: c, log: log, server: server, close: closers}, nil
}

// Run listens and serves until ctx ends, then lets flows finish for up to 10 s and resets the rest. It fails
// when it cannot listen on every address, and then on none.
func (a *App) Run(ctx context.Context) error {
	a.announce()
	listeners, err := listenAll(ctx, a.config.Listen.SOCKS5)
	if err != nil {
		return err
	}
	serveCtx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var serving sync.WaitGroup
	for _, l := range listeners {
		a.log.InfoContext(ctx, "listening", "inbound", "socks5", "addr", l.Addr().String())
		serving.Go(func() {
			if err := a.server.Serve(serveCtx, l); err != nil {
				fail(fmt.Errorf("serve %s: %w", l.Addr(), err))
			}
		})
	}
	<-serveCtx.Done()
	a.stop()
	serving.Wait()
	if ctx.Err() != nil { // told to stop
		return nil
	}
	return context.Cause(serveCtx)
}

func (a *App) stop() {
	a.log.Info("stopping", "drain", drainTime.String())
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := a.server.Shutdown(ctx); err != nil {
		a.log.Warn("flows cut", "err", err)
	}
	for _, c := range a.close {
		_ = c.Close() // nobody uses it any more
	}
	a.log.Info("stopped")
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

// listenAll opens every address or none.
func listenAll(ctx context.Context, addrs []string) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
		}
	}()
	for _, addr := range addrs {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return listeners, fmt.Errorf("listen.socks5: %w", err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}
