package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/app"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// favourite is the address of the SOCKS5 port if it is free.
const favourite = "127.0.0.1:1080"

// lastMoment is what flows that end anyway have for that at the end of a demo.
const lastMoment = time.Second

// client is the program itself, in this process.
type client struct {
	addr   string
	cancel context.CancelFunc
	done   chan error // gets Run's result
}

// startClient runs the client in front of the servers of these entries.
func startClient(ctx context.Context, entries ...string) (*client, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("listen:\n  socks5: %q\ndisable_probes: true\nupstreams:\n%s",
		addr, strings.Join(entries, ""))
	parsed, err := config.Parse("demo.yaml", []byte(text), config.Checks{})
	if err != nil {
		return nil, err
	}
	warnings := slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})
	a, err := app.New(parsed, slog.New(warnings))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &client{addr: addr, cancel: cancel, done: make(chan error, 1)}
	go func() {
		cut, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		context.AfterFunc(ctx, func() { time.AfterFunc(lastMoment, end) })
		c.done <- a.Run(ctx, cut)
	}()
	if err := c.waitUntilUp(ctx); err != nil {
		c.cancel()
		return nil, err
	}
	return c, nil
}

// freeAddr returns the favourite address, or another where that one is taken.
func freeAddr(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", favourite)
	if err != nil {
		l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// waitUntilUp waits until the SOCKS5 port accepts.
func (c *client) waitUntilUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", c.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-c.done:
			return fmt.Errorf("client ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("client does not listen: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *client) stop() {
	c.cancel()
	if err := <-c.done; err != nil {
		fmt.Fprintln(os.Stderr, "demo: client:", err)
	}
}
