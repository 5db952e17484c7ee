package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// What is listened for.
const (
	kindSOCKS5  = "socks5"
	kindMetrics = "metrics"
	kindStatus  = "status"
)

// place is where something is listened for.
type place struct{ kind, addr string }

// key is the place in the configuration.
func (p place) key() string {
	if p.kind == kindSOCKS5 {
		return "listen.socks5"
	}
	return p.kind + ".listen"
}

// places are all of a configuration.
func places(c *config.Config) []place {
	var all []place
	for _, addr := range c.Listen.SOCKS5 {
		all = append(all, place{kindSOCKS5, addr})
	}
	if c.Metrics.Listen != "" {
		all = append(all, place{kindMetrics, c.Metrics.Listen})
	}
	if c.Status.Enable {
		all = append(all, place{kindStatus, c.Status.Listen})
	}
	return all
}

// comparePlaces gives places an order.
func comparePlaces(p, q place) int {
	if p.kind != q.kind {
		return strings.Compare(p.kind, q.kind)
	}
	return strings.Compare(p.addr, q.addr)
}

// listenAll opens every place that is not open, or none.
func listenAll(
	ctx context.Context, places []place, open map[place]*door,
) (fresh map[place]net.Listener, err error) {
	fresh = make(map[place]net.Listener)
	for _, p := range places {
		if open[p] != nil {
			continue
		}
		l, err := listen(ctx, p, places)
		if err != nil {
			for _, l := range fresh {
				_ = l.Close()
			}
			return nil, fmt.Errorf("%s: %w", p.key(), err)
		}
		fresh[p] = l
	}
	return fresh, nil
}

// listen opens one place among those of a configuration.
func listen(ctx context.Context, p place, all []place) (net.Listener, error) {
	path, unix := strings.CutPrefix(p.addr, config.UnixPrefix)
	if !unix {
		var lc net.ListenConfig
		return lc.Listen(ctx, listenNetwork(p, all), p.addr)
	}
	return listenUnix(ctx, path)
}

// listenUnix opens a socket that only its owner can use. One that a crash has left behind is in nobody's way.
func listenUnix(ctx context.Context, path string) (l net.Listener, err error) {
	var lc net.ListenConfig
	open := func() { l, err = lc.Listen(ctx, "unix", path) }
	privately(open)
	if errors.Is(err, syscall.EADDRINUSE) && isLeftBehind(ctx, path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		privately(open)
	}
	return l, err
}

// isLeftBehind reports whether a path is a socket that nobody listens at. Files of all kinds refuse
// connections, so that this alone would have us remove them.
func isLeftBehind(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// door is a listener that is served.
type door struct {
	listener net.Listener
	addr     string // that it has got
	stop     context.CancelFunc
	done     chan struct{} // closed when nothing is accepted any more
	tended   *tended       // nil: nobody asks whether it is alive
}

// listenNetwork keeps an IPv4 address to IPv4, which package net would open for IPv6 too where it is 0.0.0.0.
// An IPv6 wildcard takes both, unless IPv4 has a listener of its own on that port.
func listenNetwork(p place, all []place) string {
	host, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		return "tcp" // Listen says what is wrong
	}
	ip, err := netip.ParseAddr(host)
	sameIPv4 := func(q place) bool { return q.addr == net.JoinHostPort("0.0.0.0", port) }
	switch {
	case err != nil: // a name, or nothing for every address
		return "tcp"
	case ip.Is4():
		return "tcp4"
	case ip.IsUnspecified() && slices.ContainsFunc(all, sameIPv4):
		return "tcp6"
	}
	return "tcp"
}
