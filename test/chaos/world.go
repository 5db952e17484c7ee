package main

import (
	"context"
	"fmt"
	"time"
)

// world is everything that a run consists of.
type world struct {
	targets     *targets
	servers     []*server
	client      *client
	driver      driver
	association *association
}

// newWorld starts it. The caller stops it, after an error too.
func newWorld(ctx context.Context, o options, folder string) (w *world, err error) {
	w = &world{}
	binary, err := build(ctx, folder)
	if err != nil {
		return w, err
	}
	if w.targets, err = startTargets(downloadPause); err != nil {
		return w, err
	}
	hosts := map[string]string{nameServer: w.targets.names.Addr()}
	for _, name := range []string{"a", "b", "c"} {
		s, err := newServer(name, folder, hosts)
		if s != nil {
			w.servers = append(w.servers, s)
		}
		if err != nil {
			return w, err
		}
	}
	config, err := configure(folder, carriers[o.carrier], w.servers, w.targets)
	if err != nil {
		return w, err
	}
	if w.client, err = startClient(ctx, binary, config, folder); err != nil {
		return w, err
	}
	w.driver = driver{proxy: w.client.address(), targets: w.targets}
	return w, nil
}

func (w *world) stop() {
	if w.client != nil {
		_ = w.client.stop()
	}
	for _, s := range w.servers {
		if s.process != nil {
			s.process.kill()
		}
	}
	if w.targets != nil {
		w.targets.close()
	}
}

// results stops the client and returns what the run has seen. All flows have ended.
func (w *world) results(b *book) *results {
	r := &results{took: time.Since(b.began), spans: b.spans, flows: b.flows, lags: b.lags}
	r.queries, r.udpEnd = w.association.queries, w.association.ended
	r.end = w.client.stop()
	r.duplicates, r.switches, r.cpu = w.targets.duplicates(), w.client.switches(), w.client.cpu()
	return r
}

// server returns the current server of a protocol.
func (w *world) server(proto string) (*server, error) {
	name := w.client.upstream(proto)
	for _, s := range w.servers {
		if s.name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the client's log does not say which upstream %s uses", proto)
}

// script has a world go through phases.
type script struct {
	world *world
	book  *book
	told  func(string)
}

// play goes through all phases. Where one had a fault, it ends with the phase.
func (s script) play(ctx context.Context, phases []phase) error {
	var struck *server
	var was fault
	for _, p := range phases {
		name := string(p.fault)
		if struck != nil {
			if err := struck.revive(was); err != nil {
				return err
			}
			name, struck = struck.name+" is back", nil
		}
		if p.fault != calm {
			victim, err := s.world.server(p.strikes)
			if err != nil {
				return err
			}
			name, struck, was = fmt.Sprintf("%s %s (%s)", p.fault, victim.name, p.strikes), victim, p.fault
		}
		s.book.enter(name, p.fault)
		if struck != nil {
			if err := struck.strike(p.fault); err != nil {
				return err
			}
		}
		wait(ctx, p.duration)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.told(s.book.progress())
	}
	return nil
}
