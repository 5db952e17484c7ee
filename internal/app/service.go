package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
)

// Service is what the service manager that started the program gives it and wants of it, in systemd's ways.
// The zero value is that of a program that nobody manages.
type Service struct {
	tell      func(state string) error // nil: nobody listens
	watchdog  time.Duration            // a sign of life is due within that; 0: never
	listeners map[string]net.Listener  // sockets that were open already, by address
}

// Attach has the program serve the sockets of its service manager in the place of listen.socks5, and report
// to it. It must be called before Run.
func (a *App) Attach(s Service) error {
	if err := s.admissible(&a.config.Listen); err != nil {
		return err
	}
	a.service = s
	return nil
}

// admissible refuses to serve a socket that makes an open proxy of the program: what the file says of
// listen.socks5 was checked when it was read, these sockets are not in it.
func (s Service) admissible(l *config.Listen) error {
	var errs []error
	for _, addr := range s.addresses() {
		if l.Exposes(addr) {
			errs = append(errs, fmt.Errorf("socket of the service manager at %s: other hosts can reach it "+
				"and use it without a password; set listen.socks5_users or listen.allow_open", addr))
		}
	}
	return errors.Join(errs...)
}

// addresses are those of the sockets, sorted.
func (s Service) addresses() []string {
	addrs := make([]string, 0, len(s.listeners))
	for addr := range s.listeners {
		addrs = append(addrs, addr)
	}
	slices.Sort(addrs)
	return addrs
}

// firstListeners are the sockets of the service manager, and what else the configuration has.
func (a *App) firstListeners(ctx context.Context) (map[place]net.Listener, error) {
	wanted := slices.DeleteFunc(a.places(a.config), func(p place) bool {
		return p.kind == kindSOCKS5 && a.service.listeners[p.addr] != nil
	})
	fresh, err := listenAll(ctx, wanted, nil)
	if err != nil {
		return nil, err
	}
	if len(a.service.listeners) > 0 {
		a.log.InfoContext(ctx, "sockets of the service manager take the place of listen.socks5")
	}
	for addr, l := range a.service.listeners {
		fresh[place{kindSOCKS5, addr}] = l
	}
	return fresh, nil
}

// places are all of a configuration. Sockets of the service manager take the place of listen.socks5.
func (a *App) places(c *config.Config) []place {
	all := places(c)
	if len(a.service.listeners) == 0 {
		return all
	}
	all = slices.DeleteFunc(all, func(p place) bool { return p.kind == kindSOCKS5 })
	for _, addr := range a.service.addresses() {
		all = append(all, place{kindSOCKS5, addr})
	}
	return all
}

// say tells the service manager. The program goes on without it.
func (a *App) say(states ...string) {
	if a.service.tell == nil {
		return
	}
	if err := a.service.tell(strings.Join(states, "\n")); err != nil {
		a.log.Warn("service manager not told", "reason", states[0], "err", err)
	}
}

// reloadBegins tells the service manager that a reload begins; what it returns tells it how that ended. A
// program that does not serve yet, or any more, says nothing: the end of a reload means that it is ready.
func (a *App) reloadBegins() (ended func(error)) {
	a.reloading.Lock()
	serving := a.serving != nil && !a.stopped
	a.reloading.Unlock()
	if !serving {
		return func(error) {}
	}
	a.say("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()))
	return func(err error) {
		status := "STATUS=configuration reloaded"
		if err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			status = "STATUS=not reloaded: " + first
		}
		a.say("READY=1", status)
	}
}
