package app

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/outline-cli-ws/outline-cli-ws/internal/balancer"
	"github.com/outline-cli-ws/outline-cli-ws/internal/config"
	"github.com/outline-cli-ws/outline-cli-ws/internal/status"
)

// api is the status API of the configuration in force.
type api struct{ handler atomic.Pointer[http.Handler] }

func (a *api) use(o status.Options) {
	h := status.Handler(o)
	a.handler.Store(&h)
}

// ServeHTTP implements http.Handler.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*a.handler.Load()).ServeHTTP(w, r) }

// statusOptions translates the configuration.
func (a *App) statusOptions(c *config.Config) status.Options {
	return status.Options{
		Source: a, Control: control{a}, Token: c.Status.Token.Reveal(), Hosts: c.Status.Hosts,
		Metrics: a.metrics.Handler(), Log: a.log,
	}
}

// control is what the status API can change.
type control struct{ app *App }

var _ status.Control = control{}

// Select implements status.Control.
func (c control) Select(name string) error { return c.wish(name, balancer.Preferred) }

// Drain implements status.Control.
func (c control) Drain(name string) error { return c.wish(name, balancer.Drained) }

// Enable implements status.Control.
func (c control) Enable(name string) error { return c.wish(name, balancer.NoWish) }

func (c control) wish(name string, w balancer.Wish) error {
	err := c.app.balancer.Wish(name, w)
	switch {
	case errors.Is(err, balancer.ErrUnknownMember):
		return status.ErrUnknown
	case errors.Is(err, balancer.ErrLastMember):
		return fmt.Errorf("%w: %w", status.ErrConflict, err)
	}
	return err
}

// Probe implements status.Control.
func (c control) Probe(name string) error {
	if c.app.facts.Load().fleet.named(name) == nil {
		return status.ErrUnknown
	}
	if !c.app.probing.soon(name) {
		return fmt.Errorf("%w: it is not probed", status.ErrConflict)
	}
	return nil
}

// Reload implements status.Control.
func (c control) Reload() error {
	if c.app.Load == nil {
		return fmt.Errorf("%w: there is no file to read again", status.ErrConflict)
	}
	return c.app.ReloadFile()
}
